"""`python -m mobilebert_common` is `mobilebert`, for launchers: `torchrun --nproc-per-node 2 -m mobilebert_common train …`."""

from .cli.main import main

if __name__ == "__main__":
    main()

"""Our twins and tokenizers against those of transformers, in an environment per transformers release; nothing here may skip."""

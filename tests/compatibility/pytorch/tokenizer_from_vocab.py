import os

from mobilebert_pt import MobileBertTokenizer, MobileBertTokenizerFast

tokenizer = MobileBertTokenizer.from_pretrained("mobilebert")
files = tokenizer.save_vocabulary("vocabulary") if os.makedirs("vocabulary", exist_ok=True) is None else ()
fast = MobileBertTokenizerFast.from_pretrained("mobilebert", model_max_length=16, padding_side="left")
batch = fast(["good", "where is my parcel"], padding=True)
assert batch["input_ids"][0][0] == fast.pad_token_id == tokenizer.vocab["[PAD]"]
learned = fast.train_new_from_iterator(["the big blue parcel", "a small red parcel"], 40)
assert "parcel" in learned.get_vocab()
result = [batch["input_ids"], fast.model_max_length, len(files), tokenizer.convert_tokens_to_string(["par", "##cel"])]

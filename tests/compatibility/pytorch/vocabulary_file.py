from mobilebert_pt import MobileBertTokenizer

tokenizer = MobileBertTokenizer("mobilebert/vocab.txt", do_lower_case=True)
result = [tokenizer.tokenize("Where is my Parcel?"), tokenizer.encode("good", "bad"), tokenizer.vocab_size]

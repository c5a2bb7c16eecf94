from mobilebert_pt import MobileBertModel, MobileBertTokenizerFast

tokenizer = MobileBertTokenizerFast.from_pretrained("mobilebert")
model = MobileBertModel.from_pretrained("mobilebert", return_dict=False, low_cpu_mem_usage=True, cache_dir="cache").eval()
sequence_output, pooled_output = model(tokenizer("Where is my parcel?", return_tensors="pt")["input_ids"])
result = [sequence_output, pooled_output]

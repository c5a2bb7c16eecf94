from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, AutoTokenizer

from mobilebert_pt import (
    MobileBertConfig,
    MobileBertForSequenceClassification,
    MobileBertModel,
    MobileBertTokenizerFast,
)

AutoConfig.register("mobilebert", MobileBertConfig, exist_ok=True)
AutoModel.register(MobileBertConfig, MobileBertModel, exist_ok=True)
AutoModelForSequenceClassification.register(MobileBertConfig, MobileBertForSequenceClassification, exist_ok=True)
AutoTokenizer.register(MobileBertConfig, fast_tokenizer_class=MobileBertTokenizerFast, exist_ok=True)
model = AutoModelForSequenceClassification.from_pretrained("mobilebert-labels", num_labels=3)
tokenizer = AutoTokenizer.from_pretrained("mobilebert-labels")
assert isinstance(model, MobileBertForSequenceClassification)
assert isinstance(AutoModel.from_pretrained("mobilebert"), MobileBertModel)
result = model(**tokenizer("Where is my parcel?", return_tensors="pt")).logits

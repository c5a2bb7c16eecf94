import torch
from transformers import DataCollatorForLanguageModeling, Trainer, TrainingArguments

from mobilebert_pt import MobileBertForMaskedLM, MobileBertTokenizerFast

tokenizer = MobileBertTokenizerFast.from_pretrained("mobilebert")
model = MobileBertForMaskedLM.from_pretrained("mobilebert")
data = [tokenizer(text, truncation=True, max_length=16) for text in ["Where is my parcel?", "It is in Paris."]]
collator = DataCollatorForLanguageModeling(tokenizer=tokenizer, mlm=True, mlm_probability=0.4)
arguments = TrainingArguments("out", max_steps=2, learning_rate=1e-3, save_strategy="no", report_to="none",
                              disable_tqdm=True, use_cpu=True, seed=0)
trainer = Trainer(model=model, args=arguments, train_dataset=data, data_collator=collator)
trainer.train()
torch.manual_seed(0)
batch = collator(data)
assert (batch["labels"] != -100).any()
result = [trainer.state.global_step, batch["input_ids"].shape, torch.exp(model.eval()(**batch).loss).log()]

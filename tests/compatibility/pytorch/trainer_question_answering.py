from transformers import DefaultDataCollator, Trainer, TrainingArguments

from mobilebert_pt import MobileBertForQuestionAnswering, MobileBertTokenizerFast

tokenizer = MobileBertTokenizerFast.from_pretrained("mobilebert-squad")
model = MobileBertForQuestionAnswering.from_pretrained("mobilebert-squad")
context, answer = "it will arrive in paris tomorrow .", "paris"
row = tokenizer("Where is my parcel?", context, truncation="only_second", max_length=40, padding="max_length")
begin = row.char_to_token(context.index(answer), sequence_index=1)
end = row.char_to_token(context.index(answer) + len(answer) - 1, sequence_index=1)
data = [dict(row) | {"start_positions": begin, "end_positions": end}] * 4
arguments = TrainingArguments("out", max_steps=2, learning_rate=1e-3, save_strategy="no", report_to="none",
                              disable_tqdm=True, use_cpu=True, seed=0, gradient_checkpointing=True)
trainer = Trainer(model=model, args=arguments, train_dataset=data, eval_dataset=data, data_collator=DefaultDataCollator())
trainer.train()
result = [begin, end, trainer.evaluate()["eval_loss"]]

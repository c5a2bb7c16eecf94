from transformers import Trainer, TrainingArguments

from mobilebert_pt import MobileBertForSequenceClassification, MobileBertTokenizer

tokenizer = MobileBertTokenizer.from_pretrained("mobilebert-labels")
encoded = tokenizer(["good parcel", "bad parcel"])
data = [{name: encoded[name][row] for name in encoded} | {"label": row} for row in range(2)]
for epochs in (1, 2):
    model = MobileBertForSequenceClassification.from_pretrained("mobilebert-labels")
    arguments = TrainingArguments("out", num_train_epochs=epochs, learning_rate=1e-3, save_strategy="epoch",
                                  report_to="none", disable_tqdm=True, use_cpu=True, seed=0)
    trainer = Trainer(model=model, args=arguments, train_dataset=data)
    trainer.train(resume_from_checkpoint=epochs == 2)
result = [trainer.state.global_step, trainer.evaluate(data)["eval_loss"]]

from mobilebert_pt import MobileBertConfig, MobileBertForMaskedLM

config = MobileBertConfig(vocab_size=50, hidden_size=32, num_hidden_layers=2, intermediate_size=16, embedding_size=16,
                          intra_bottleneck_size=16, num_attention_heads=2, dropout=0.4, attention_dropout=0.4)
config.output_hidden_states = False
config.num_labels = 4
model = MobileBertForMaskedLM(config)
model.init_weights()
result = [model.num_parameters(), config.num_labels, config.id2label, model.config.dropout, model.config.vocab_size]

"""The framework-free core of MobileBERT: configuration, tokenizers, checkpoint format, tasks."""

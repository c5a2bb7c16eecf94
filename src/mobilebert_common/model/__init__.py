"""What a MobileBERT is, without a framework: configuration, tensors, inputs and outputs."""

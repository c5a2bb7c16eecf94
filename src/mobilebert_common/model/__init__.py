"""The model without a framework: configuration, tensors, inputs and outputs."""

"""How a model is trained, evaluated and used, in either framework."""

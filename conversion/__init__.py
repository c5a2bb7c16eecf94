"""Between dialects and between live twins. The one package that knows both frameworks."""

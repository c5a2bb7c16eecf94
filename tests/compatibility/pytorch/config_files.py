import json
from pathlib import Path

from mobilebert_pt import MobileBertConfig

config = MobileBertConfig.from_pretrained("mobilebert-tags")
config.update({"num_hidden_layers": 3, "num_labels": 2})
config.to_json_file("mine.json")
again = MobileBertConfig.from_json_file("mine.json")
assert again.num_hidden_layers == 3 and again.to_dict()["id2label"] == config.to_dict()["id2label"]
assert json.loads(Path("mine.json").read_text())["num_hidden_layers"] == json.loads(config.to_json_string())["num_hidden_layers"]
changed, _ = MobileBertConfig.get_config_dict("mobilebert-tags")
result = [changed["hidden_size"], config.to_diff_dict()["num_hidden_layers"], getattr(config, "pad_token_id", None)]

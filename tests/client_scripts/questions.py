"""What every client is made to ask."""

# The tiny model reasons about it for a while and comes to an end, which it does not about everything.
MESSAGES = [{"role": "user", "content": "今日の東京の天気はどうですか。"}]
TOOL = {
    "name": "get_weather",
    "description": "ある都市の天気を調べる",
    "parameters": {
        "type": "object",
        "properties": {"都市": {"type": "string", "enum": ["東京", "大阪"]}},
        "required": ["都市"],
        "additionalProperties": False,
    },
}
SCHEMA = {
    "title": "answer",
    "description": "天気の答え",
    "type": "object",
    "properties": {
        "天気": {"type": "string", "enum": ["晴れ", "雨"]},
        "雨の確率": {"type": "integer", "enum": [0, 50, 100]},
    },
    "required": ["天気", "雨の確率"],
    "additionalProperties": False,
}

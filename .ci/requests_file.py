"""Print this number of requests as JSONL in the API's format, each about a topic of Python's documentation."""

from __future__ import annotations

import json
import sys
from itertools import cycle, islice
from pydoc_data.topics import topics

for number, (topic, text) in enumerate(islice(cycle(sorted(topics.items())), int(sys.argv[1]))):
    question = f"Summarize what the language reference says of {topic}:\n\n{text[:1500]}"
    params = {"model": "claude-haiku-4-5", "max_tokens": 256, "messages": [{"role": "user", "content": question}]}
    print(json.dumps({"custom_id": f"{number}", "params": params}, ensure_ascii=False))

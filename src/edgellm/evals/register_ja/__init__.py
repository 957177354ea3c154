"""What quantization breaks first in Japanese: script, register, endings and loops, found by rules of ours."""

"""Causal language models in this process: found, loaded, prompted, decoded. Extra: ``hf``.

What the ``hf`` backend and the trainers share, so that a model is trained on the very tokens that it will be asked.
"""

from __future__ import annotations

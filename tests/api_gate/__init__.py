"""The parts of the gate `api_signatures`: what names stand for, what calls ask."""

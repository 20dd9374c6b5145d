"""Our own person-independent expression: learned from synthetic people, free of anybody's licence."""

from headstudio.encoders.expression.config import ExpressionConfig
from headstudio.encoders.expression.encoder import EXPRESSION_FEATURES, ExpressionEncoder

__all__ = ["EXPRESSION_FEATURES", "ExpressionConfig", "ExpressionEncoder"]

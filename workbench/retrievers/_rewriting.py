"""What retrievers that ask a model first have in common."""

from __future__ import annotations

from workbench.booking import stage
from workbench.contracts import Model
from workbench.errors import InputError
from workbench.records import Decoding, Message, Prompt


def rewrite(model: Model, instruction: str, question: str, *, cue: str, max_tokens: int) -> str:
    """What a model makes of a question, deterministically, its time and tokens booked to the stage ``rewrite``.

    Raises ``ModelFailure`` or ``InfrastructureFailure``, as the model does.
    """
    messages = (Message(role="user", content=f"{instruction}\n\nQuestion: {question}"),)
    decoding = Decoding(
        temperature=0 if "temperature" in model.accepts else None,
        max_tokens=max_tokens,
        # A base model would go on with another question after the blank line.
        stop=("\n\n",) if model.style == "text" else (),
    )
    with stage("rewrite") as window:
        completion = window.generate(model, Prompt(messages=messages, cue=cue), decoding)
    return completion.text.strip()


def check_positive(retriever: str, **parameters: int) -> None:
    """Refuse counts below 1, all at once."""
    problems = [
        f"{retriever}: {name} is {value}; expected at least 1" for name, value in parameters.items() if value < 1
    ]
    if problems:
        raise InputError(problems)

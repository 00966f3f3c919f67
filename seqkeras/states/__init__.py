"""The states of recurrent models, and conversion between stateless and stateful."""

from seqkeras._lazy import require

require("keras")

from seqkeras.states._access import get_state as get_state
from seqkeras.states._access import keep_state as keep_state
from seqkeras.states._access import load_state as load_state
from seqkeras.states._access import reset_state as reset_state
from seqkeras.states._access import save_state as save_state
from seqkeras.states._access import set_state as set_state
from seqkeras.states._convert import as_stateful as as_stateful
from seqkeras.states._convert import as_stateless as as_stateless

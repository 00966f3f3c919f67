"""Write torch.json next to this file, with PyTorch, in a separate environment.

pip install torch==2.13.0
python make_torch.py
"""

import json

import torch

CASES = {
    "lstm": torch.nn.LSTM(3, 2, 2, bidirectional=True),
    "lstm one way": torch.nn.LSTM(3, 2, 3),
    "gru": torch.nn.GRU(3, 2, 2, bidirectional=True),
    "rnn": torch.nn.RNN(3, 2, 1, bidirectional=True),
    "rnn relu": torch.nn.RNN(3, 2, 2, nonlinearity="relu"),
    "no bias": torch.nn.GRU(3, 2, 2, bias=False),
}


def main():
    torch.manual_seed(0)
    x = torch.randn(2, 4, 3)
    cases = {}
    for name, module in CASES.items():
        for parameter in module.parameters():
            torch.nn.init.normal_(parameter, 0, 0.5)
        module.batch_first = True
        state = {key: value.tolist() for key, value in module.state_dict().items()}
        cases[name] = {"state": state, "y": module(x)[0].tolist()}
    rounded = json.loads(json.dumps({"x": x.tolist(), "cases": cases}), parse_float=shorten)
    with open("torch.json", "w") as file:
        json.dump(rounded, file)


def shorten(number):
    return float(f"{float(number):.8g}")


main()

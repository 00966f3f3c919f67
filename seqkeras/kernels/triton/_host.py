"""The PyTorch side of the Triton kernel: products outside the loop, launches, gradients."""

import contextlib
import math
from typing import Any, NamedTuple, TypeAlias

import torch
import triton

from seqkeras.kernels.fused._arguments import FusedInputs, FusedOutputs, Static
from seqkeras.kernels.triton import _programs as programs
from seqkeras.kernels.triton._interpreter import interpreted

Tensor: TypeAlias = Any

# Bits of the flags of a row at a timestep. LIVE: the timestep is not masked. FRESH: the state is
# cleared before it.
LIVE = 1
FRESH = 2
#: Number of values that forward saves for backward, for each unit and timestep.
SLOTS = {"lstm": 4, "gru": 3, "gru_reset_after": 4, "simple_rnn": 1}


class Plan(NamedTuple):
    """How the work of a layer is divided into programs."""

    #: Rows of the batch, and units, that one program computes.
    rows: int
    wide: int
    #: The units, rounded up to a multiple of `chunk`: the units of the state read at a time.
    deep: int
    chunk: int
    #: What happens between timesteps: `programs.ALONE`, `WAIT` or `LAUNCH`.
    meet: int
    warps: int

    def grid(self, batch: int, units: int) -> tuple[int, int]:
        """Return the numbers of programs over the rows and over the units."""
        return triton.cdiv(batch, self.rows), triton.cdiv(units, self.wide)


class Extras(NamedTuple):
    """Arguments without a gradient. Tensors are time-major and in the order of reading, or None."""

    static: Static
    plan: Plan
    #: `(timesteps + 1, batch)`: LIVE and FRESH
    flags: Tensor | None
    #: `(gates, batch, units)`
    drop: Tensor | None
    zone_h: Tensor | None
    zone_c: Tensor | None


class Trace(NamedTuple):
    """What the forward loop computed."""

    hs: Tensor
    cs: Tensor | None
    saved: Tensor


def plan_for(batch: int, units: int, processors: int) -> Plan:
    """Choose how to divide a layer of this size into programs.

    Up to 64 units, one program computes all units of its rows. Beyond that, small programs wait
    for one another after each timestep, if all of them fit on the GPU at once; otherwise each
    timestep is a launch of its own. The compiler keeps blocks of these sizes in registers.
    """
    if units <= 64:
        deep = max(16, triton.next_power_of_2(units))
        return Plan(16, deep, deep, deep, programs.ALONE.value, warps=8 if deep == 64 else 4)
    for rows in (16, 32, 64):
        plan = Plan(rows, 16, 32 * triton.cdiv(units, 32), 32, programs.WAIT.value,
                    warps=4 if rows == 16 else 8)  # fmt: skip
        if math.prod(plan.grid(batch, units)) <= processors:
            return plan
    return plan._replace(meet=programs.LAUNCH.value)


def run(static: Static, inputs: FusedInputs) -> FusedOutputs:
    """Run one layer; see `_triton.run`."""
    dtype = inputs.x.dtype
    units = len(inputs.recurrent_kernel)
    x = _in_order(inputs.x.float(), static)
    masks = (inputs.mask, inputs.reset, inputs.zoneout_h_mask, inputs.zoneout_c_mask)
    mask, reset, *zones = (None if flags is None else _in_order(flags, static) for flags in masks)
    batch = x.shape[1]
    flags = _flags(x, mask, reset)
    extras = Extras(
        static,
        plan_for(batch, units, _processors(x)),
        flags,
        _float(inputs.recurrent_dropout),
        *(None if zone is None else zone.to(torch.uint8).contiguous() for zone in zones),
    )
    kernel, recurrent, bias, h0, c0 = map(_float, inputs[1:6])
    xz, bias_h = _input_sums(static, x, mask, kernel, bias)
    zeros = x.new_zeros(batch, units)
    if static.cell == "lstm" and c0 is None:
        c0 = zeros
    hs, c_n = _Recurrence.apply(
        xz, recurrent, bias_h, zeros if h0 is None else h0, c0, _float(inputs.peephole), extras
    )
    y = _outputs(static, hs, flags, h0 is not None).transpose(0, 1).to(dtype)
    c_n = None if c_n is None else c_n.to(dtype)
    return FusedOutputs(y if static.sequences else None, y[:, -1], hs[-1].to(dtype), c_n)


def _float(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.float().contiguous()


def _in_order(tensor: Tensor, static: Static) -> Tensor:
    """Make a tensor time-major, in the order in which the layer reads it."""
    tensor = tensor.transpose(0, 1)
    return tensor.flip(0) if static.go_backwards else tensor


def _flags(x: Tensor, mask: Tensor | None, reset: Tensor | None) -> Tensor | None:
    """Join mask and reset into the flags of each timestep; `x` is time-major."""
    if mask is None and reset is None:
        return None
    timesteps, batch, _ = x.shape
    flags = torch.zeros(timesteps + 1, batch, dtype=torch.uint8, device=x.device)
    flags[:-1] = LIVE if mask is None else mask.to(torch.uint8)
    if reset is not None:
        flags[:-1] += FRESH * reset.to(torch.uint8)
    return flags


def _processors(x: Tensor) -> int:
    """Return how many programs run at once: 0 in the interpreter, which runs them in turn."""
    if not x.is_cuda:
        return 0
    return int(torch.cuda.get_device_properties(x.device).multi_processor_count)


def _input_sums(
    static: Static, x: Tensor, mask: Tensor | None, kernel: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Return the input products with biases; for `gru_reset_after` also the recurrent bias of h."""
    if mask is not None:
        x = torch.where(mask[:, :, None], x, 0.0)  # masked timesteps may hold anything, even NaN
    xz = x @ kernel
    if static.cell != "gru_reset_after":
        return (xz if bias is None else xz + bias), None
    units = kernel.shape[1] // 3
    if bias is None:
        return xz, x.new_zeros(units)
    outer = torch.cat([bias[1, : 2 * units], bias.new_zeros(units)])
    return xz + bias[0] + outer, bias[1, 2 * units :].contiguous()


def _outputs(static: Static, hs: Tensor, flags: Tensor | None, initial: bool) -> Tensor:
    """Return the outputs, which only differ from the states at masked timesteps."""
    if flags is None or static.masked_output == "hold_state":
        return hs
    if static.masked_output == "zero":
        return torch.where((flags[:-1, :, None] & LIVE) != 0, hs, 0.0)
    if not initial:
        return hs
    seen = (flags[:-1] != 0).cumsum(0) > 0
    return torch.where(seen[:, :, None], hs, 0.0)


class _Recurrence(torch.autograd.Function):
    """The loop over time, from input products (timesteps, batch, gates * units) to states."""

    @staticmethod
    def forward(ctx, xz, recurrent, bias_h, h0, c0, peephole, extras):  # type: ignore
        save = extras.static.save
        trace = _forward(xz, recurrent, bias_h, h0, c0, peephole, extras, save)
        # Either the trace is saved, or what backward needs to compute it again.
        if save:
            ctx.save_for_backward(None, recurrent, bias_h, None, None, peephole, *trace)
        else:
            ctx.save_for_backward(xz, recurrent, bias_h, h0, c0, peephole, None, None, None)
        ctx.extras = extras
        return trace.hs[1:], None if trace.cs is None else trace.cs[-1]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, dy, dc_n):  # type: ignore
        xz, recurrent, bias_h, h0, c0, peephole, *saved = ctx.saved_tensors
        if saved[0] is None:
            trace = _forward(xz, recurrent, bias_h, h0, c0, peephole, ctx.extras, save=True)
        else:
            trace = Trace(*saved)
        gradients = _backward(dy, dc_n, recurrent, peephole, trace, ctx.extras)
        return (*gradients, None)


def _launch(
    program: Any, plan: Plan, sizes: tuple[int, int], timesteps: int, call: dict[str, Any], *,
    halves: bool, back: bool = False,
) -> None:  # fmt: skip
    """Launch a program once, or once for each timestep or half of a timestep."""
    call = {**call, "MEET": plan.meet, "ROWS": plan.rows, "WIDE": plan.wide, "DEEP": plan.deep,
            "CHUNK": plan.chunk, "num_warps": plan.warps}  # fmt: skip
    launch = program[plan.grid(*sizes)]
    with _on_device_of(call["recurrent"]):
        if plan.meet == programs.LAUNCH.value:
            order = range(timesteps)
            for t in reversed(order) if back else order:
                for part in (1, 2) if halves else (0,):
                    launch(**call, first=t, last=t + 1, PART=part)
            return
        if plan.meet == programs.WAIT.value:
            # Make a launch fail, instead of hang, if its programs cannot all run at once.
            call["launch_cooperative_grid"] = True
        launch(**call, first=0, last=timesteps, PART=0)


def _on_device_of(tensor: Tensor) -> contextlib.AbstractContextManager[Any]:
    """Make a tensor's device the current one, on which Triton launches."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else contextlib.nullcontext()


def _common(recurrent: Tensor, peephole: Tensor | None, extras: Extras) -> dict[str, Any]:
    """Return the arguments that the programs `forward` and `backward` share."""
    static = extras.static
    training = extras.zone_h is not None
    return {
        "recurrent": recurrent, "flags": extras.flags, "drop": extras.drop,
        "zone_h": extras.zone_h, "zone_c": extras.zone_c, "peephole": peephole,
        "rate_h": None if training or not static.zoneout_h else static.zoneout_h,
        "rate_c": None if training or not static.zoneout_c else static.zoneout_c,
        "units": len(recurrent), "CELL": static.cell, "GATES": recurrent.shape[1] // len(recurrent),
        "SLOTS": SLOTS[static.cell], "ACTIVATION": static.activation,
        "GATE": static.recurrent_activation, "PRECISION": _precision(static),
    }  # fmt: skip


def _precision(static: Static) -> str:
    """Return how the products in the loop are computed."""
    if static.precision == "bfloat16":
        return "rounded" if interpreted() else "bfloat16"
    return "tf32" if torch.backends.cudnn.allow_tf32 else "tf32x3"


def _forward(
    xz: Tensor, recurrent: Tensor, bias_h: Tensor | None, h0: Tensor, c0: Tensor | None,
    peephole: Tensor | None, extras: Extras, save: bool,
) -> Trace:  # fmt: skip
    timesteps, batch, _ = xz.shape
    units = len(recurrent)
    plan = extras.plan
    cell = extras.static.cell
    hs = xz.new_empty(timesteps + 1, batch, units)
    hs[0] = h0
    steps_saved = timesteps if save else 0
    cs = None
    if c0 is not None:
        cs = xz.new_empty(steps_saved + 1, batch, units)
        cs[0] = c0
    saved = xz.new_empty(max(steps_saved, 1), batch, SLOTS[cell] * units)
    call = {
        **_common(recurrent, peephole, extras), "xz": xz.contiguous(), "bias_h": bias_h, "hs": hs,
        "cs": cs, "saved": saved, "rh": torch.empty_like(h0) if cell == "gru" else None,
        "counters": _counters(hs, plan), "batch": batch, "c_step": batch * units if save else 0,
        "saved_step": saved[0].numel() if save else 0,
    }  # fmt: skip
    _launch(programs.forward, plan, (batch, units), timesteps, call, halves=cell == "gru")
    return Trace(hs, cs, saved)


def _backward(
    dy: Tensor, dc_n: Tensor | None, recurrent: Tensor, peephole: Tensor | None, trace: Trace,
    extras: Extras,
) -> tuple[Tensor | None, ...]:  # fmt: skip
    """Compute the gradients to xz, recurrent, bias_h, h0, c0 and peephole."""
    timesteps, batch, units = dy.shape
    plan = extras.plan
    cell = extras.static.cell
    dz = dy.new_empty(timesteps + 1, batch, recurrent.shape[1])
    dz[-1] = 0
    dm = None
    if cell == "gru_reset_after":
        dm = dy.new_empty(timesteps + 1, batch, units)
        dm[-1] = 0
    dh = dy.new_zeros(batch, units)
    dc = None if dc_n is None else dc_n.clone().contiguous()
    call = {
        **_common(recurrent, peephole, extras), "dy": dy.contiguous(), "hs": trace.hs,
        "cs": trace.cs, "saved": trace.saved, "dz": dz, "dm": dm, "carry_h": dh, "carry_c": dc,
        "counters": _counters(dy, plan), "batch": batch,
    }  # fmt: skip
    _launch(
        programs.backward, plan, (batch, units), timesteps, call, back=True, halves=cell == "gru"
    )
    recurrent_dz = _recurrent_dz(dz, dm, units)
    dh0 = dh + _through(recurrent_dz, recurrent, extras)
    before = trace.hs[:-1]
    if extras.flags is not None:
        fresh = (extras.flags[:-1, :, None] & FRESH) != 0
        dh0 = torch.where(fresh[0], 0.0, dh0)
        before = torch.where(fresh, 0.0, before)
    d_recurrent = _recurrent_gradient(recurrent_dz, before, trace.saved, extras)
    d_peephole = None if peephole is None else _peephole_gradient(dz, trace.cs, extras)
    d_bias = None if dm is None else dm.sum((0, 1))
    return dz[:-1], d_recurrent, d_bias, dh0, dc, d_peephole


def _counters(like: Tensor, plan: Plan) -> Tensor | None:
    """Return zeroed counts of arrived programs by block of rows, or None if no program waits."""
    if plan.meet != programs.WAIT.value:
        return None
    return torch.zeros(like.shape[1], dtype=torch.int32, device=like.device)


def _recurrent_dz(dz: Tensor, dm: Tensor | None, units: int) -> list[Tensor]:
    """Return the gradient to each gate's recurrent product, `(timesteps, batch, units)`."""
    parts = list(dz[:-1].split(units, dim=2))
    return parts if dm is None else [*parts[:-1], dm[:-1]]


def _through(recurrent_dz: list[Tensor], recurrent: Tensor, extras: Extras) -> Tensor:
    """Compute the part of the gradient to h0 that comes through the recurrent kernel."""
    units = len(recurrent)
    total = torch.zeros_like(recurrent_dz[0][0])
    for gate, part in enumerate(recurrent_dz):
        if extras.static.cell == "gru" and gate == 2:
            continue  # this gate reads r * h; the program has already added its part
        product = part[0] @ recurrent[:, gate * units : (gate + 1) * units].T
        total += product if extras.drop is None else product * extras.drop[gate]
    return total


def _recurrent_gradient(
    recurrent_dz: list[Tensor], before: Tensor, saved: Tensor, extras: Extras
) -> Tensor:
    """Compute the gradient to the recurrent kernel, in one product over all timesteps per gate."""
    units = before.shape[2]
    columns = []
    for gate, part in enumerate(recurrent_dz):
        read = before if extras.drop is None else before * extras.drop[gate]
        if extras.static.cell == "gru" and gate == 2:
            read = read * saved[:, :, units : 2 * units]
        columns.append(read.flatten(0, 1).T @ part.flatten(0, 1))
    return torch.cat(columns, dim=1)


def _peephole_gradient(dz: Tensor, cs: Tensor, extras: Extras) -> Tensor:
    units = cs.shape[2]
    di, df, _, do = dz[:-1].split(units, dim=2)
    before = cs[:-1]
    if extras.flags is not None:
        before = torch.where((extras.flags[:-1, :, None] & FRESH) != 0, 0.0, before)
    return torch.stack([(d * c).sum((0, 1)) for d, c in ((di, before), (df, before), (do, cs[1:]))])

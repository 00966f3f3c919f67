"""The programs that run on the GPU: loops over time, forward and backward, in Triton.

All arrays are float32, dense and time-major, in the order of reading. A program has a block of
rows of the batch, and a block of units with all their gates. Before it reads a timestep, it needs
the previous state of all units of its rows, which other programs compute. MEET says what happens
between timesteps:

- ALONE: nothing, because one program has all units of its rows;
- WAIT: the programs of the same rows wait for one another; all must be on the chip at once;
- LAUNCH: the host launches each timestep separately, with `last` = `first` + 1. A GRU that resets
  before its product has two launches for each timestep, for its halves (PART 1 and 2).

The compiler evaluates all conditions on None and on names in capitals: a compiled program does not
contain them.
"""

# Triton's conventions: capitals for compile-time constants, and `else` after `return`.
# ruff: noqa: N803, RET505, C901
# mypy: ignore-errors

import triton
import triton.language as tl

LAUNCH, ALONE, WAIT = (tl.constexpr(value) for value in range(3))


@triton.jit
def _activate(x, NAME: tl.constexpr):
    if NAME == "tanh":
        return 1 - 2 / (tl.exp(2 * x) + 1)
    elif NAME == "sigmoid":
        return 1 / (1 + tl.exp(-x))
    elif NAME == "hard_sigmoid":
        s = x * (1 / 6) + 0.5
        return tl.where(s < 0, 0.0, tl.where(s > 1, 1.0, s))  # a NaN stays NaN
    elif NAME == "relu":
        return tl.where(x < 0, 0.0, x)
    else:
        return x


@triton.jit
def _slope(s, NAME: tl.constexpr):
    """Return the derivative of an activation, from its value."""
    if NAME == "tanh":
        return 1 - s * s
    elif NAME == "sigmoid":
        return s * (1 - s)
    elif NAME == "hard_sigmoid":
        return tl.where((s > 0) & (s < 1), 1 / 6, 0.0)
    elif NAME == "relu":
        return tl.where(s > 0, 1.0, 0.0)
    else:
        return tl.full(s.shape, 1.0, tl.float32)


@triton.jit
def _dot(a, b, total, PRECISION: tl.constexpr):
    if PRECISION == "bfloat16":
        return tl.dot(a.to(tl.bfloat16), b.to(tl.bfloat16), total)
    elif (
        PRECISION == "rounded"
    ):  # the same for the interpreter, whose dot does not support bfloat16
        return tl.dot(a.to(tl.bfloat16).to(tl.float32), b.to(tl.bfloat16).to(tl.float32), total)
    else:
        return tl.dot(a, b, total, input_precision=PRECISION)


@triton.jit
def _meet(counters, target, MEET: tl.constexpr):
    """Wait until all programs of these rows arrive, so that each sees what the others stored.

    Return the count of arrivals to wait for at the next meeting.
    """
    if MEET != LAUNCH:
        tl.debug_barrier()
    if MEET == WAIT:
        counter = counters + tl.program_id(0)
        tl.atomic_add(counter, 1, sem="release")
        while tl.atomic_add(counter, 0, sem="acquire") < target:
            pass
        tl.debug_barrier()
    return target + tl.num_programs(1)


@triton.jit
def _tile(pointer, rows, columns, row_step, inside):
    """Load a block of a matrix, bypassing L1: another program may have just written it."""
    return tl.load(
        pointer + rows[:, None] * row_step + columns[None, :],
        mask=inside,
        other=0.0,
        cache_modifier=".cg",
    )


@triton.jit
def _zoned_out(old, new, zone, rate, place, inside):
    if zone is not None:
        return tl.where(tl.load(zone + place, mask=inside, other=0) != 0, old, new)
    elif rate is not None:
        return rate * old + (1 - rate) * new
    else:
        return new


@triton.jit
def _kept(zone, rate, place, inside):
    """Return the fraction of the old value that zoneout keeps."""
    if zone is not None:
        return (tl.load(zone + place, mask=inside, other=0) != 0).to(tl.float32)
    elif rate is not None:
        return rate
    else:
        return 0.0


@triton.jit
def _factors(drop, gate, rows, columns, batch, units, inside):
    place = (gate * batch + rows[:, None]) * units + columns[None, :]
    return tl.load(drop + place, mask=inside, other=0.0)


@triton.jit
def _part(pointer, gate, sums, units, inside):
    return tl.load(pointer + gate * units + sums, mask=inside, other=0.0)


@triton.jit
def _products(
    source, h, fresh, recurrent, drop, rows, wide, batch, units,
    BEGIN: tl.constexpr, END: tl.constexpr, GATES: tl.constexpr, PRECISION: tl.constexpr,
    MEET: tl.constexpr, ROWS: tl.constexpr, WIDE: tl.constexpr, DEEP: tl.constexpr,
    CHUNK: tl.constexpr,
):  # fmt: skip
    """Multiply the state by the recurrent kernel, for gates BEGIN to END; zeros for the others.

    The state is `h` for a program that has all units. Otherwise it is `source`, with zeros where
    `fresh` is set.
    """
    p0 = tl.zeros([ROWS, WIDE], tl.float32)
    p1 = tl.zeros([ROWS, WIDE], tl.float32)
    p2 = tl.zeros([ROWS, WIDE], tl.float32)
    p3 = tl.zeros([ROWS, WIDE], tl.float32)
    for k in range(0, DEEP, CHUNK):
        deep = k + tl.arange(0, CHUNK)
        inside = (rows[:, None] < batch) & (deep[None, :] < units)
        inside_w = (deep[:, None] < units) & (wide[None, :] < units)
        if MEET == ALONE:
            state = h
        else:
            state = _tile(source, rows, deep, units, inside)
            if fresh is not None:
                state = tl.where(fresh, 0.0, state)
        weights = recurrent + deep[:, None] * (GATES * units) + wide[None, :]
        for gate in tl.static_range(BEGIN, END):
            read = state
            if drop is not None:
                read = state * _factors(drop, gate, rows, deep, batch, units, inside)
            w = tl.load(weights + gate * units, mask=inside_w, other=0.0)
            if gate == 0:
                p0 = _dot(read, w, p0, PRECISION)
            elif gate == 1:
                p1 = _dot(read, w, p1, PRECISION)
            elif gate == 2:
                p2 = _dot(read, w, p2, PRECISION)
            else:
                p3 = _dot(read, w, p3, PRECISION)
    return p0, p1, p2, p3


@triton.jit
def _back_products(
    dz, dm, recurrent, drop, rows, wide, batch, units, inside,
    BEGIN: tl.constexpr, END: tl.constexpr, GATES: tl.constexpr, PRECISION: tl.constexpr,
    ROWS: tl.constexpr, WIDE: tl.constexpr, DEEP: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """Return the gradient to h through the recurrent kernel, for gates BEGIN to END.

    It reads `dz` (rows, GATES * units), and for gate 2 `dm` (rows, units) unless `dm` is None.
    """
    p0 = tl.zeros([ROWS, WIDE], tl.float32)
    p1 = tl.zeros([ROWS, WIDE], tl.float32)
    p2 = tl.zeros([ROWS, WIDE], tl.float32)
    p3 = tl.zeros([ROWS, WIDE], tl.float32)
    for k in range(0, DEEP, CHUNK):
        deep = k + tl.arange(0, CHUNK)
        inside_k = (rows[:, None] < batch) & (deep[None, :] < units)
        inside_w = (deep[:, None] < units) & (wide[None, :] < units)
        weights = recurrent + wide[None, :] * (GATES * units) + deep[:, None]
        for gate in tl.static_range(BEGIN, END):
            if gate == 2 and dm is not None:
                d = _tile(dm, rows, deep, units, inside_k)
            else:
                d = _tile(dz + gate * units, rows, deep, GATES * units, inside_k)
            w = tl.load(weights + gate * units, mask=inside_w, other=0.0)
            if drop is None or gate == 0:
                p0 = _dot(d, w, p0, PRECISION)
            elif gate == 1:
                p1 = _dot(d, w, p1, PRECISION)
            elif gate == 2:
                p2 = _dot(d, w, p2, PRECISION)
            else:
                p3 = _dot(d, w, p3, PRECISION)
    if drop is not None:
        if BEGIN == 0:
            p0 *= _factors(drop, 0, rows, wide, batch, units, inside)
        if BEGIN <= 1 and END > 1:
            p0 += p1 * _factors(drop, 1, rows, wide, batch, units, inside)
        if BEGIN <= 2 and END > 2:
            p0 += p2 * _factors(drop, 2, rows, wide, batch, units, inside)
        if END > 3:
            p0 += p3 * _factors(drop, 3, rows, wide, batch, units, inside)
    return p0


@triton.jit
def forward(
    xz, recurrent, bias_h, hs, cs, saved, rh, flags, drop, zone_h, zone_c, peephole, counters,
    rate_h, rate_c, first, last, batch, units, c_step, saved_step,
    CELL: tl.constexpr, GATES: tl.constexpr, SLOTS: tl.constexpr, PART: tl.constexpr,
    MEET: tl.constexpr, ACTIVATION: tl.constexpr, GATE: tl.constexpr, PRECISION: tl.constexpr,
    ROWS: tl.constexpr, WIDE: tl.constexpr, DEEP: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """Compute `hs[t + 1]` from `hs[t]`, for the timesteps t from `first` to `last` - 1.

    xz (timesteps, batch, GATES * units): input products with the bias. hs (timesteps + 1, batch,
    units) begins with h0, and cs with c0. If nothing is saved for `backward`, `c_step` and
    `saved_step` are 0, so that each timestep overwrites the previous one.
    saved (timesteps, batch, SLOTS * units): the gates, for `backward`. flags (timesteps + 1,
    batch): bit 0 live, bit 1 reset. rh (batch, units): r * h of a GRU, between its two products.
    """
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    wide = tl.program_id(1) * WIDE + tl.arange(0, WIDE)
    inside = (rows[:, None] < batch) & (wide[None, :] < units)
    own = rows[:, None] * units + wide[None, :]
    slots = rows[:, None] * (SLOTS * units) + wide[None, :]
    sums = rows[:, None] * (GATES * units) + wide[None, :]
    start = tl.full([], 0, tl.int64) + first
    h = tl.load(hs + start * batch * units + own, mask=inside, other=0.0)
    if CELL == "lstm":
        c = tl.load(cs + start * c_step + own, mask=inside, other=0.0)
    target = tl.num_programs(1)
    now = start
    while now < last:
        x_now = xz + now * batch * (GATES * units)
        saved_now = saved + now * saved_step + slots
        if flags is not None:
            flag = tl.load(flags + now * batch + rows, mask=rows < batch, other=0)
            live = ((flag & 1) != 0)[:, None]
            fresh = ((flag & 2) != 0)[:, None]
            h = tl.where(fresh, 0.0, h)
            if CELL == "lstm":
                c = tl.where(fresh, 0.0, c)
        else:
            fresh = None

        if CELL == "lstm":
            i, f, g, o = _products(
                hs + now * batch * units, h, fresh, recurrent, drop, rows, wide, batch, units,
                0, 4, GATES, PRECISION, MEET, ROWS, WIDE, DEEP, CHUNK,
            )  # fmt: skip
            i += _part(x_now, 0, sums, units, inside)
            f += _part(x_now, 1, sums, units, inside)
            g += _part(x_now, 2, sums, units, inside)
            o += _part(x_now, 3, sums, units, inside)
            if peephole is not None:
                within = wide < units
                i += tl.load(peephole + wide, mask=within, other=0.0)[None, :] * c
                f += tl.load(peephole + units + wide, mask=within, other=0.0)[None, :] * c
            i = _activate(i, GATE)
            f = _activate(f, GATE)
            g = _activate(g, ACTIVATION)
            place = now * batch * units + own
            c_new = _zoned_out(c, f * c + i * g, zone_c, rate_c, place, inside)
            if peephole is not None:
                o += tl.load(peephole + 2 * units + wide, mask=within, other=0.0)[None, :] * c_new
            o = _activate(o, GATE)
            new = o * _activate(c_new, ACTIVATION)
            if flags is not None:
                c_new = tl.where(live, c_new, c)
            c = c_new
            tl.store(cs + (now + 1) * c_step + own, c, mask=inside)
            tl.store(saved_now, i, mask=inside)
            tl.store(saved_now + units, f, mask=inside)
            tl.store(saved_now + 2 * units, g, mask=inside)
            tl.store(saved_now + 3 * units, o, mask=inside)
        elif CELL == "simple_rnn":
            new, _, _, _ = _products(
                hs + now * batch * units, h, fresh, recurrent, drop, rows, wide, batch, units,
                0, 1, GATES, PRECISION, MEET, ROWS, WIDE, DEEP, CHUNK,
            )  # fmt: skip
            new += _part(x_now, 0, sums, units, inside)
            new = _activate(new, ACTIVATION)
            tl.store(saved_now, new, mask=inside)
        else:
            if PART != 2:
                z, r, m, _ = _products(
                    hs + now * batch * units, h, fresh, recurrent, drop, rows, wide, batch, units,
                    0, 3 if CELL == "gru_reset_after" else 2, GATES, PRECISION, MEET, ROWS, WIDE,
                    DEEP, CHUNK,
                )  # fmt: skip
                z = _activate(z + _part(x_now, 0, sums, units, inside), GATE)
                r = _activate(r + _part(x_now, 1, sums, units, inside), GATE)
                tl.store(saved_now, z, mask=inside)
                tl.store(saved_now + units, r, mask=inside)
            if CELL == "gru_reset_after":
                m += tl.load(bias_h + wide, mask=wide < units, other=0.0)[None, :]
                tl.store(saved_now + 3 * units, m, mask=inside)
                new = _activate(_part(x_now, 2, sums, units, inside) + r * m, ACTIVATION)
            else:
                if MEET != ALONE and PART != 2:
                    tl.store(rh + own, r * h, mask=inside)
                    target = _meet(counters, target, MEET)
                if PART == 2:
                    z = tl.load(saved_now, mask=inside, other=0.0)
                    r = h  # unused: `_products` reads r * h from rh
                if PART != 1:
                    _, _, new, _ = _products(
                        rh, r * h, None, recurrent, drop, rows, wide, batch, units,
                        2, 3, GATES, PRECISION, MEET, ROWS, WIDE, DEEP, CHUNK,
                    )  # fmt: skip
                    new = _activate(new + _part(x_now, 2, sums, units, inside), ACTIVATION)
            if PART != 1:
                tl.store(saved_now + 2 * units, new, mask=inside)
                new = z * h + (1 - z) * new

        if PART != 1:
            new = _zoned_out(h, new, zone_h, rate_h, now * batch * units + own, inside)
            if flags is not None:
                new = tl.where(live, new, h)
            h = new
            tl.store(hs + (now + 1) * batch * units + own, h, mask=inside)
        if MEET == WAIT:
            target = _meet(counters, target, MEET)
        now += 1


@triton.jit
def backward(
    dy, recurrent, hs, cs, saved, dz, dm, carry_h, carry_c, flags, drop, zone_h, zone_c, peephole,
    counters, rate_h, rate_c, first, last, batch, units,
    CELL: tl.constexpr, GATES: tl.constexpr, SLOTS: tl.constexpr, PART: tl.constexpr,
    MEET: tl.constexpr, ACTIVATION: tl.constexpr, GATE: tl.constexpr, PRECISION: tl.constexpr,
    ROWS: tl.constexpr, WIDE: tl.constexpr, DEEP: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """Compute `dz[t]` from `dz[t + 1]`, for the timesteps t from `last` - 1 down to `first`.

    dy (timesteps, batch, units): gradients to h of each timestep. dz (timesteps + 1, batch,
    GATES * units), with zeros at the end: gradients to the sums of the gates. dm (timesteps + 1,
    batch, units), only for gru_reset_after: gradients to the recurrent product of gate h. carry_h
    and carry_c (batch, units), read and written: the part of the gradient to the previous state
    that does not come through the recurrent kernel.
    """
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    wide = tl.program_id(1) * WIDE + tl.arange(0, WIDE)
    inside = (rows[:, None] < batch) & (wide[None, :] < units)
    own = rows[:, None] * units + wide[None, :]
    slots = rows[:, None] * (SLOTS * units) + wide[None, :]
    sums = rows[:, None] * (GATES * units) + wide[None, :]
    dh = tl.load(carry_h + own, mask=inside, other=0.0)
    if CELL == "lstm":
        dc = tl.load(carry_c + own, mask=inside, other=0.0)
    target = tl.num_programs(1)
    now = tl.full([], -1, tl.int64) + last
    while now >= first:
        dz_now = dz + now * batch * (GATES * units)
        saved_now = saved + now * batch * (SLOTS * units) + slots
        h = tl.load(hs + now * batch * units + own, mask=inside, other=0.0)
        if flags is not None:
            flag = tl.load(flags + now * batch + rows, mask=rows < batch, other=0)
            live = ((flag & 1) != 0)[:, None]
            fresh = ((flag & 2) != 0)[:, None]
            h = tl.where(fresh, 0.0, h)

        if PART != 2:
            dm_next = dm + (now + 1) * batch * units if dm is not None else None
            through = _back_products(
                dz_now + batch * (GATES * units), dm_next, recurrent, drop, rows, wide, batch,
                units, inside, 0, 2 if CELL == "gru" else GATES, GATES, PRECISION, ROWS, WIDE,
                DEEP, CHUNK,
            )  # fmt: skip
            if flags is not None:
                flag = tl.load(flags + (now + 1) * batch + rows, mask=rows < batch, other=0)
                through = tl.where(((flag & 2) != 0)[:, None], 0.0, through)
            dh += through
            dh += tl.load(dy + now * batch * units + own, mask=inside, other=0.0)

        kept = _kept(zone_h, rate_h, now * batch * units + own, inside)
        d_new = dh * (1 - kept)
        if flags is not None:
            d_new = tl.where(live, d_new, 0.0)

        if CELL == "lstm":
            i = tl.load(saved_now, mask=inside, other=0.0)
            f = tl.load(saved_now + units, mask=inside, other=0.0)
            g = tl.load(saved_now + 2 * units, mask=inside, other=0.0)
            o = tl.load(saved_now + 3 * units, mask=inside, other=0.0)
            c = tl.load(cs + now * batch * units + own, mask=inside, other=0.0)
            c_new = tl.load(cs + (now + 1) * batch * units + own, mask=inside, other=0.0)
            if flags is not None:
                c = tl.where(fresh, 0.0, c)
            shown = _activate(c_new, ACTIVATION)
            do = d_new * shown * _slope(o, GATE)
            d_c = dc + d_new * o * _slope(shown, ACTIVATION)
            if peephole is not None:
                within = wide < units
                d_c += do * tl.load(peephole + 2 * units + wide, mask=within, other=0.0)[None, :]
            kept_c = _kept(zone_c, rate_c, now * batch * units + own, inside)
            d_cell = d_c * (1 - kept_c)
            if flags is not None:
                d_cell = tl.where(live, d_cell, 0.0)
            di = d_cell * g * _slope(i, GATE)
            df = d_cell * c * _slope(f, GATE)
            dg = d_cell * i * _slope(g, ACTIVATION)
            before = d_c * kept_c + d_cell * f
            if peephole is not None:
                before += di * tl.load(peephole + wide, mask=within, other=0.0)[None, :]
                before += df * tl.load(peephole + units + wide, mask=within, other=0.0)[None, :]
            if flags is not None:
                before = tl.where(live, before, dc)
                before = tl.where(fresh, 0.0, before)
            dc = before
            tl.store(dz_now + sums, di, mask=inside)
            tl.store(dz_now + sums + units, df, mask=inside)
            tl.store(dz_now + sums + 2 * units, dg, mask=inside)
            tl.store(dz_now + sums + 3 * units, do, mask=inside)
            before = dh * kept
        elif CELL == "simple_rnn":
            new = tl.load(saved_now, mask=inside, other=0.0)
            tl.store(dz_now + sums, d_new * _slope(new, ACTIVATION), mask=inside)
            before = dh * kept
        else:
            z = tl.load(saved_now, mask=inside, other=0.0)
            r = tl.load(saved_now + units, mask=inside, other=0.0)
            new = tl.load(saved_now + 2 * units, mask=inside, other=0.0)
            d_h = d_new * (1 - z) * _slope(new, ACTIVATION)
            before = dh * kept + d_new * z
            if PART != 2:
                tl.store(dz_now + sums, d_new * (h - new) * _slope(z, GATE), mask=inside)
                tl.store(dz_now + sums + 2 * units, d_h, mask=inside)
            if CELL == "gru_reset_after":
                m = tl.load(saved_now + 3 * units, mask=inside, other=0.0)
                tl.store(dm + now * batch * units + own, d_h * r, mask=inside)
                tl.store(dz_now + sums + units, d_h * m * _slope(r, GATE), mask=inside)
            else:
                if PART == 0:
                    target = _meet(counters, target, MEET)
                if PART != 1:
                    d_rh = _back_products(
                        dz_now, None, recurrent, drop, rows, wide, batch, units, inside,
                        2, 3, GATES, PRECISION, ROWS, WIDE, DEEP, CHUNK,
                    )  # fmt: skip
                    tl.store(dz_now + sums + units, d_rh * h * _slope(r, GATE), mask=inside)
                    before += d_rh * r

        if PART != 1:
            if flags is not None:
                before = tl.where(live, before, dh)
                before = tl.where(fresh, 0.0, before)
            dh = before
        target = _meet(counters, target, MEET)
        now -= 1
    tl.store(carry_h + own, dh, mask=inside)
    if CELL == "lstm":
        tl.store(carry_c + own, dc, mask=inside)

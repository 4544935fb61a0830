"""Lesson 5: the scan over an image."""

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from skinlesion.lessons.exercise import Case, Exercise, Wrong
from skinlesion.lessons.tasks.inputs import normal, uniform
from skinlesion.scan import cross_selective_scan
from skinlesion.scan.reference import cross_merge, cross_scan, four_routes, selective_scan

# --- four_routes -----------------------------------------------------------------------------------------------------


def _grids(generator: Generator) -> list[Case]:
    sizes = [(2, 3, "a grid that is not square"), (3, 2, "a grid that is taller than wide"), (3, 3, "a square grid")]
    more = [(1, 4, "a single row"), (4, 1, "a single column"), (5, 4, "five rows of four")]
    return [Case((h, w), label) for h, w, label in [*sizes, *more]]


def _indices(height: int, width: int) -> tuple[Tensor, Tensor]:
    rows = torch.arange(height * width)
    return rows, rows.reshape(height, width).T.reshape(-1)


def _routes_wrong_stride(height: int, width: int) -> Tensor:
    rows = torch.arange(height * width)
    columns = torch.tensor([r * height + c for c in range(width) for r in range(height)])
    return torch.stack([rows, columns, rows.flip(0), columns.flip(0)])


def _routes_inverse(height: int, width: int) -> Tensor:
    rows, columns = _indices(height, width)
    back = torch.argsort(columns)
    return torch.stack([rows, back, rows.flip(0), back.flip(0)])


def _routes_not_reversed(height: int, width: int) -> Tensor:
    rows, columns = _indices(height, width)
    return torch.stack([rows, columns, rows, columns])


def _routes_order(height: int, width: int) -> Tensor:
    rows, columns = _indices(height, width)
    return torch.stack([rows, rows.flip(0), columns, columns.flip(0)])


def _routes_mirror(height: int, width: int) -> Tensor:
    rows, columns = _indices(height, width)
    grid = rows.reshape(height, width)
    return torch.stack([rows, columns, grid.flip(1).reshape(-1), grid.flip(0).T.reshape(-1)])


def _routes_off_by_one(height: int, width: int) -> Tensor:
    return four_routes(height, width) + 1


def _routes_snake(height: int, width: int) -> Tensor:
    grid = torch.arange(height * width).reshape(height, width)
    rows, columns = grid.clone(), grid.T.clone()
    rows[1::2], columns[1::2] = rows[1::2].flip(1), columns[1::2].flip(1)
    return torch.stack(
        [rows.reshape(-1), columns.reshape(-1), rows.flip(0, 1).reshape(-1), columns.flip(0, 1).reshape(-1)]
    )


FOUR_ROUTES = Exercise(
    name="ss2d.four_routes",
    lesson=5,
    title="Four routes over a grid",
    statement=r"""
Return an integer tensor of shape $(4,\ HW)$. Entry $[k, t]$ is the **row-major index** ($i \cdot W + j$ for row
$i$, column
$j$) of the token that route $k$ reads at step $t$:

* route 0 goes along the rows, from the top left;
* route 1 goes down the columns, from the top left;
* routes 2 and 3 are routes 0 and 1 in reverse.

Grids need not be square.
""",
    solution=four_routes,
    takes="height, width",
    example="four_routes(2, 3)",
    difficulty=1,
    importance=5,
    minutes=8,
    hints=(
        "Write the row-major indices of a 2 x 3 grid on paper as a grid, and read that grid column by column.",
        "`torch.arange(height * width)` is route 0. Reshape it to (height, width) and transpose it, and you read down "
        "the columns.",
        "`columns = rows.reshape(height, width).T.reshape(-1)`; a reversed route is `route.flip(0)`.",
    ),
    cases=_grids,
    wrong=(
        Wrong(
            "snake",
            _routes_snake,
            "Every other line runs the other way, like a snake. Every row goes from left to right, every column from "
            "top to bottom.",
        ),
        Wrong(
            "height for width",
            _routes_wrong_stride,
            "The index of row i, column j is i * width + j. You multiply by the height, which makes no difference on a "
            "square grid.",
        ),
        Wrong(
            "inverse permutation",
            _routes_inverse,
            "Your route 1 says *when* each token is read. Return *which* token is read at each step: the inverse of "
            "yours.",
        ),
        Wrong(
            "not reversed",
            _routes_not_reversed,
            "Routes 2 and 3 are the same as routes 0 and 1: they must run backward. Without them the last token never "
            "reaches the first.",
        ),
        Wrong(
            "another order",
            _routes_order,
            "These are the right routes in the wrong order: rows, columns, then both backward.",
        ),
        Wrong(
            "mirrored, not reversed",
            _routes_mirror,
            "Routes 2 and 3 reverse each line, but still take the lines from first to last. "
            "Reverse the whole sequence, so that it begins at the bottom right.",
        ),
        Wrong("counts from 1", _routes_off_by_one, "Indices start at 0."),
    ),
    after="Every token is visited once by each route, so each row of your table is a permutation.",
)

# --- cross_scan ------------------------------------------------------------------------------------------------------


def _grid_inputs(generator: Generator) -> list[Case]:
    cases = []
    for batch, height, width, channels, label in (
        (1, 2, 3, 2, "a grid that is not square"),
        (2, 3, 3, 4, "a square grid and two images"),
        (2, 4, 2, 3, "a grid that is taller than wide"),
    ):
        x = normal(generator, batch, height, width, channels)
        cases.append(Case((x, four_routes(height, width)), label, (0,)))
    return [*cases, Case((normal(generator, 3, 3, 5, 2), _any_routes(generator, 2, 15)), "two other routes", (0,))]


def _any_routes(generator: Generator, count: int, tokens: int) -> Tensor:
    """Routes that are not those of SS2D: their table must be read."""
    return torch.stack([torch.randperm(tokens, generator=generator) for _ in range(count)])


def _inverse(routes: Tensor) -> Tensor:
    return torch.argsort(routes.long(), dim=1)


CROSS_SCAN = Exercise(
    name="ss2d.cross_scan",
    lesson=5,
    title="Scan expansion",
    statement=r"""
Read the grid along each route: from `x` $(B, H, W, D)$ and `routes` $(K, HW)$ make the $K$ sequences, $(B, K, HW,
D)$. Token $t$
of sequence $k$ is the token of `x` whose row-major index is `routes[k, t]`.
""",
    solution=cross_scan,
    example="""
x = torch.tensor([[[[1.0], [2.0]], [[3.0], [4.0]]]])
cross_scan(x, torch.tensor([[0, 1, 2, 3], [0, 2, 1, 3]]))[..., 0]
""",
    difficulty=2,
    importance=4,
    minutes=8,
    hints=(
        "First flatten the grid: (B, H, W, D) -> (B, HW, D). Row-major is how it is stored.",
        "You can index a tensor with a table of integers: in `flat[:, table]` the table's shape replaces the axis.",
        "`x.flatten(1, 2)[:, routes.long()]`",
    ),
    cases=_grid_inputs,
    wrong=(
        Wrong(
            "its own routes",
            lambda x, routes: x.flatten(1, 2)[:, four_routes(*x.shape[1:3])[: len(routes)]],
            "You compute the routes yourself and ignore the argument `routes`.",
        ),
        Wrong(
            "own routes",
            lambda x, routes: x.flatten(1, 2)[:, four_routes(*x.shape[1:3]).long()],
            "The argument `routes` isn't used: you compute the four routes yourself. `routes` may hold any routes, and "
            "any number of them.",
        ),
        Wrong(
            "inverse",
            lambda x, routes: x.flatten(1, 2)[:, _inverse(routes)],
            "You write the tokens *to* the indices in the table. Read them *from* there.",
        ),
        Wrong(
            "column-major flattening",
            lambda x, routes: x.transpose(1, 2).flatten(1, 2)[:, routes.long()],
            "You flatten the grid column by column. The table's indices are row-major.",
        ),
        Wrong(
            "axes of the result",
            lambda x, routes: x.flatten(1, 2)[:, routes.long()].transpose(1, 2),
            "Your result is (B, HW, K, D). It should be (B, K, HW, D): one sequence after the other.",
        ),
        Wrong(
            "one route only",
            lambda x, routes: x.flatten(1, 2)[:, routes[0].long()][:, None].expand(-1, len(routes), -1, -1),
            "All the sequences are the same: only route 0 is used.",
        ),
        Wrong(
            "permutes the channels",
            lambda x, routes: x.permute(0, 3, 1, 2).flatten(2).reshape(len(x), -1, x.shape[-1])[:, routes.long()],
            "The channels are mixed with the positions: a reshape is not a transpose. Keep the channels last.",
        ),
    ),
)

# --- cross_merge -----------------------------------------------------------------------------------------------------


def _sequences(generator: Generator) -> list[Case]:
    cases = []
    for batch, height, width, channels, label in (
        (1, 2, 3, 2, "a grid that is not square"),
        (2, 3, 3, 4, "a square grid and two images"),
        (1, 4, 2, 3, "a grid that is taller than wide"),
    ):
        y = normal(generator, batch, 4, height * width, channels)
        cases.append(Case((y, four_routes(height, width), height, width), label, (0,)))
    other = (normal(generator, 3, 2, 15, 2), _any_routes(generator, 2, 15), 3, 5)
    return [*cases, Case(other, "two other routes", (0,))]


def _merged(y: Tensor, table: Tensor, height: int, width: int) -> Tensor:
    return sum(y[:, k, table[k]] for k in range(y.shape[1])).unflatten(1, (height, width))  # type: ignore[union-attr]


def _overwritten(y: Tensor, routes: Tensor, height: int, width: int) -> Tensor:
    return y[:, -1, _inverse(routes)[-1]].unflatten(1, (height, width))


CROSS_MERGE = Exercise(
    name="ss2d.cross_merge",
    lesson=5,
    title="Scan merging",
    statement=r"""
The way back: `y` $(B, K, HW, D)$ holds a result for each step of each route. Put every result where its token came
from, and
**add** the $K$ results of each token: $(B, H, W, D)$.
""",
    solution=cross_merge,
    example="""
y = torch.tensor([[[[1.0], [2.0], [3.0], [4.0]], [[10.0], [20.0], [30.0], [40.0]]]])
cross_merge(y, torch.tensor([[0, 1, 2, 3], [0, 2, 1, 3]]), 2, 2)[..., 0]
""",
    difficulty=3,
    importance=5,
    minutes=12,
    hints=(
        "At a given step, different routes generally read different tokens. At which step does route k read token p?",
        "`torch.argsort(routes[k])` is the inverse of a permutation: entry p is the step at which token p was read.",
        "Sum `y[:, k, torch.argsort(routes[k].long())]` over k, then `.unflatten(1, (height, width))`.",
    ),
    cases=_sequences,
    wrong=(
        Wrong(
            "overwritten",
            _overwritten,
            "Only the last route is left: each one writes over the result of the one before. Add them (`+=`).",
        ),
        Wrong(
            "own routes",
            lambda y, routes, height, width: _merged(y, _inverse(four_routes(height, width)), height, width),
            "The argument `routes` isn't used: you compute the four routes yourself. `routes` may hold any routes, and "
            "any number of them.",
        ),
        Wrong(
            "un-reversed routes",
            lambda y, routes, height, width: y.sum(1).unflatten(1, (height, width)),
            "You add the sequences step by step, without putting the tokens back: step 0 of route 0 is the top left "
            "token, step 0 of route 2 the bottom right one.",
        ),
        Wrong(
            "forward permutation",
            lambda y, routes, height, width: _merged(y, routes.long(), height, width),
            "You index with the routes themselves. That permutes again instead of undoing the permutation (rows and "
            "reversed "
            "rows "
            "are their own inverse; columns are not, unless the grid is square).",
        ),
        Wrong(
            "mean",
            lambda y, routes, height, width: _merged(y, _inverse(routes), height, width) / y.shape[1],
            "This is the mean over the routes. SS2D adds them. The LayerNorm that follows makes the difference small, "
            "but pretrained weights expect the sum.",
        ),
        Wrong(
            "width before height",
            lambda y, routes, height, width: _merged(y, _inverse(routes), width, height),
            "You reshape the result to (W, H) rather than (H, W).",
        ),
        Wrong(
            "two routes",
            lambda y, routes, height, width: _merged(y[:, :2], _inverse(routes), height, width),
            "You add only the forward routes.",
        ),
        Wrong(
            "backward routes left reversed",
            lambda y, routes, height, width: _merged(y, _inverse(routes[[0, 1, 0, 1]]), height, width),
            "You put the two backward routes back as if they ran forward.",
        ),
    ),
    after="Merging undoes expansion: with nothing in between, you get four times the input.",
)

# --- cross_selective_scan --------------------------------------------------------------------------------------------


def _scan_inputs(generator: Generator) -> list[Case]:
    cases = []
    for batch, height, width, channels, states, label in (
        (1, 2, 3, 2, 3, "a grid that is not square"),
        (2, 3, 3, 2, 1, "two images, one state"),
        (3, 4, 2, 3, 2, "three images, taller than wide"),
    ):
        grid = (batch, height, width)
        x = normal(generator, *grid, channels)
        delta = normal(generator, *grid, 4, channels)
        A = -uniform(generator, 0.2, 2, 4, channels, states)
        B, C = normal(generator, *grid, 4, states), normal(generator, *grid, 4, states)
        D, bias = normal(generator, 4, channels), normal(generator, 4, channels)
        cases.append(Case((x, delta, A, B, C, D, bias), label, tuple(range(7))))
    return cases


def _scan(
    x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, delta_bias: Tensor, *, mistake: str
) -> Tensor:
    """The scan with one mistake of a student in it."""
    height, width = x.shape[1:3]
    routes = four_routes(height, width).long()
    if mistake == "forward only":
        routes = routes[[0, 1, 0, 1]]
    x, delta, B, C = (t.flatten(1, 2) for t in (x, delta, B, C))
    y = torch.zeros_like(x)
    for k, order in enumerate(routes):
        raw = delta[:, :, k] if mistake == "delta stays" else delta[:, order, k]
        step = {
            "bias after": lambda raw, k: F.softplus(raw) + delta_bias[k],
            "exp": lambda raw, k: torch.exp(raw + delta_bias[k]),
            "no bias": lambda raw, k: F.softplus(raw),
        }.get(mistake, lambda raw, k: F.softplus(raw + delta_bias[k]))(raw, k)
        own = 0 if mistake == "shared A" else k
        b = B[:, :, k] if mistake == "B and C stay" else B[:, order, k]
        c = C[:, :, k] if mistake == "B and C stay" else C[:, order, k]
        along = selective_scan(x[:, order], step, A[own], b, c, None if mistake == "no D" else D[k])
        y = y + (along if mistake == "not put back" else along[:, torch.argsort(order)])
    if mistake == "D once":
        y = y - D[1:].sum(0) * x
    return y.unflatten(1, (height, width))


def _mistaken_scan(name: str, mistake: str, diagnosis: str) -> Wrong:
    return Wrong(name, lambda *tensors: _scan(*tensors, mistake=mistake), diagnosis)


def _loop_over_routes(
    x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, delta_bias: Tensor
) -> Tensor:
    height, width = x.shape[1:3]
    x, delta, B, C = (each.flatten(1, 2) for each in (x, delta, B, C))
    y = torch.zeros_like(x)
    for k, order in enumerate(four_routes(height, width)):
        step = F.softplus(delta[:, order, k] + delta_bias[k])
        along = selective_scan(x[:, order], step, A[k], B[:, order, k], C[:, order, k], D[k])
        y = y + along[:, torch.argsort(order)]
    return y.unflatten(1, (height, width))


SCAN = Exercise(
    name="ss2d.cross_selective_scan",
    lesson=5,
    title="SS2D's scan, assembled",
    statement=r"""
Put the pieces together. Each route $k$ has its own $A_k$ $(D, N)$, $D_k$ $(D)$ and step bias $(D)$, and every token
has its own $\Delta$, $B$ and $C$ **for each route**:

$$\Delta = \mathrm{softplus}(\texttt{delta} + \texttt{delta\_bias}), \qquad y = \sum_k \text{put
back}\big(\mathrm{S6}_k(\text{read along } k)\big)$$

| `x` | `delta` | `A` | `B`, `C` | `D`, `delta_bias` | result |
| --- | --- | --- | --- | --- | --- |
| $(B,H,W,D)$ | $(B,H,W,K,D)$ | $(K,D,N)$ | $(B,H,W,K,N)$ | $(K,D)$ | $(B,H,W,D)$ |

Use `selective_scan(u, delta, A, B, C, D)` from the last lesson for one route.
""",
    solution=cross_selective_scan,
    formula=_loop_over_routes,
    takes="x, delta, A, B, C, D, delta_bias",
    example="""
x = torch.arange(4.0).reshape(1, 2, 2, 1)
zero = torch.zeros(1, 2, 2, 4, 1)
cross_selective_scan(x, zero, -torch.ones(4, 1, 1), zero, zero, torch.ones(4, 1), torch.zeros(4, 1))[..., 0]
""",
    difficulty=3,
    importance=5,
    minutes=20,
    hints=(
        "Everything that belongs to a token moves with it: read x, delta, B, and C along the route.",
        "For route k: flatten the grid of each, index tokens with `order = routes[k]` and take `[..., k, :]` of "
        "delta, B and C.",
        "`step = F.softplus(delta[:, order, k] + delta_bias[k])`, `y += selective_scan(x[:, order], step, A[k], "
        "B[:, order, k], "
        "C[:, order, k], D[k])[:, torch.argsort(order)]` on the flattened tensors.",
    ),
    cases=_scan_inputs,
    wrong=(
        _mistaken_scan(
            "softplus forgotten: exp",
            "exp",
            "You make the step size positive with exp. Use softplus(z) = log(1 + exp(z)), which grows no faster than "
            "z.",
        ),
        _mistaken_scan("bias after softplus", "bias after", "You add the bias after softplus. It belongs inside."),
        _mistaken_scan("no bias", "no bias", "The step sizes lack `delta_bias`."),
        _mistaken_scan(
            "delta in grid order",
            "delta stays",
            "You don't read `delta` along the route, so each token gets the step size of another token.",
        ),
        _mistaken_scan(
            "B and C in grid order",
            "B and C stay",
            "You don't read `B` and `C` along the route: each token must keep its own.",
        ),
        _mistaken_scan(
            "not put back",
            "not put back",
            "You add the results in the order of each route. Put them back in grid order first.",
        ),
        _mistaken_scan("shared A", "shared A", "All routes use the A of route 0. Each has its own."),
        _mistaken_scan("no D", "no D", "The direct path D is missing."),
        _mistaken_scan("D of one route", "D once", "You add the direct path once. Each route adds its own D * x."),
        _mistaken_scan(
            "no backward routes",
            "forward only",
            "Routes 2 and 3 run forward: no information flows from the bottom right.",
        ),
    ),
    rtol=2e-4,
    after="The package's fast engines must give these numbers, and you can now plug yours into the network.",
)

# --- implicit attention ----------------------------------------------------------------------------------------------


def implicit_attention(delta: Tensor, a: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """The scan of one channel along one route as a matrix, y = M u.

    Args:
        delta: positive step sizes, (L,).
        a: decay rates of the channel's states, (N,).
        B: (L, N).
        C: (L, N).

    Returns:
        M, (L, L): entry [t, s] = sum_n C[t, n] exp(a[n] (delta[s + 1] + .. + delta[t])) delta[s] B[s, n] for s <= t,
        else 0.
    """
    time = delta.cumsum(0)  # (L,)
    gap = time[:, None] - time[None, :]  # (L, L), t then s
    decay = torch.exp(gap[..., None].clamp(min=0) * a)  # (L, L, N)
    return torch.einsum("tn,tsn,sn->ts", C, decay, delta[:, None] * B).tril()


def _attention_inputs(generator: Generator) -> list[Case]:
    cases = []
    for length, states, label in ((4, 1, ""), (5, 3, "three states"), (1, 2, "one token"), (160, 2, "a long sequence")):
        delta = uniform(generator, 0.1, 1, length)
        a = -uniform(
            generator, 1.8 if length > 100 else 0.2, 2, states
        )  # fast enough for exp of the upper half to overflow
        cases.append(Case((delta, a, normal(generator, length, states), normal(generator, length, states)), label))
    return cases


def _attention(delta: Tensor, a: Tensor, B: Tensor, C: Tensor, *, mistake: str) -> Tensor:
    time = delta.cumsum(0)
    own = delta if mistake == "own decay" else torch.zeros_like(delta)
    gap = time[:, None] - time[None, :] + own[None, :]
    if mistake == "steps":
        steps = torch.arange(len(delta)).to(delta)
        gap = steps[:, None] - steps[None, :]
    decay = torch.exp(gap[..., None] * a if mistake == "not masked" else gap[..., None].clamp(min=0) * a)
    if mistake == "no decay":
        decay = torch.ones_like(decay)
    write = B if mistake == "no delta" else delta[:, None] * B
    matrix = torch.einsum("tn,tsn,sn->ts", C, decay, write)
    if mistake == "transposed":
        return matrix.tril().T
    if mistake == "diagonal lost":
        return matrix.tril(-1)
    return matrix if mistake == "not masked" else matrix.tril()


def _mistaken_attention(name: str, mistake: str, diagnosis: str) -> Wrong:
    return Wrong(name, lambda *tensors: _attention(*tensors, mistake=mistake), diagnosis)


ATTENTION = Exercise(
    name="ss2d.implicit_attention",
    lesson=5,
    title="The scan is an attention matrix",
    statement=r"""
Unroll the recurrence of one channel: $h_t = \sum_{s \le t} e^{a(\Delta_{s+1} + \dots + \Delta_t)} \Delta_s B_s
u_s$. So $y = M u$ with

$$M_{ts} = \sum_n C_{t,n}\; e^{a_n (\Delta_{s+1} + \dots + \Delta_t)}\; \Delta_s B_{s,n} \quad (s \le t), \qquad
M_{ts} = 0 \quad (s > t).$$

Return $M$ $(L, L)$ from `delta` $(L)$, `a` $(N)$, `B` and `C` $(L, N)$. The direct path $D$ is left out.
""",
    solution=implicit_attention,
    example="""
one = torch.ones(3, 1)
implicit_attention(torch.tensor([1.0, 0.5, 0.5]), torch.tensor([-1.0]), one, one)
""",
    difficulty=4,
    importance=3,
    minutes=20,
    bonus=True,
    hints=(
        "The sum of step sizes between s and t is a difference of two running sums.",
        "`time = delta.cumsum(0)`; `time[t] - time[s]` is what the exponent needs: it excludes s and includes t.",
        "`torch.einsum('tn,tsn,sn->ts', C, decay, delta[:, None] * B).tril()`, with `decay` (L, L, N). Clamp the "
        "exponent "
        "where s > t, or it overflows.",
    ),
    cases=_attention_inputs,
    wrong=(
        _mistaken_attention(
            "decays its own input",
            "own decay",
            "The exponent includes the step of s itself. What token s writes hasn't decayed yet at time s: M[s, s] has "
            "no exponential.",
        ),
        _mistaken_attention(
            "counts steps",
            "steps",
            "The decay uses t - s steps of size 1. Each step has its own size: that is what selectivity means.",
        ),
        _mistaken_attention("delta forgotten", "no delta", "Token s writes delta[s] * B[s] * u[s]: delta is missing."),
        _mistaken_attention("no decay", "no decay", "The old state doesn't decay: the exponential is missing."),
        _mistaken_attention(
            "transposed", "transposed", "Rows are the token that reads (t), columns the one that wrote (s)."
        ),
        _mistaken_attention(
            "not causal", "not masked", "Outputs depend on future tokens: entries with s > t must be zero."
        ),
        _mistaken_attention(
            "diagonal lost", "diagonal lost", "The diagonal is zero: a token does read what it has just written."
        ),
    ),
    after="Compare C_t, B_s and u_s with query, key and value: what is new is the decay between them, and that the "
    "L x L matrix is never built.",
)

# --- prediction ------------------------------------------------------------------------------------------------------

SEEN = Exercise(
    name="ss2d.seen_by_one_route",
    lesson=5,
    title="Predict: the receptive field of one scan direction",
    statement=r"""
A grid of $8 \times 8$ tokens and **one** scan, along the rows from the top left. On how many of the 64 tokens
(itself included) can the
output at row 3, column 4 depend? (Rows and columns count from 0.)
""",
    solution=29,
    example=(
        "The pixel in row 1, column 1 of a 6 x 6 grid (counted from 0) has index 7. Its output can depend on 8 tokens: "
        "itself and the 7 before it. A change to it can reach itself and the 28 after it."
    ),
    difficulty=1,
    importance=2,
    minutes=2,
    hints=(
        "At which step of the route is that token read?",
        "Count every token read before that step, and the token itself.",
    ),
    wrong=(
        Wrong("itself forgotten", 28, "You forgot the token itself."),
        Wrong("whole image", 64, "That is what four routes give. One route has read only the tokens before it."),
        Wrong("counts columns", 36, "That is the route down the columns. This one goes along the rows."),
        Wrong("counts from one", 20, "Rows and columns count from 0 here: row 3 is the fourth."),
        Wrong("the rest", 35, "Those are the tokens that the route has not read yet."),
        Wrong("a convolution's window", 9, "That is the window of a 3 x 3 convolution. A scan has no window."),
    ),
    after="29: three full rows and five tokens of the fourth.",
)

EXERCISES = (FOUR_ROUTES, CROSS_SCAN, CROSS_MERGE, SCAN, SEEN, ATTENTION)

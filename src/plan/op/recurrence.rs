//! The recurrence of a window, forwards and backwards: one record for all cells and both ways of sharing it out.

use super::{Operand, Operation};
use crate::model::{Activation, Cell, GateActivation, Reset, Saved};
use crate::plan::walk::Walk;
use crate::plan::{Plan, RecurrenceMode, TensorId, Tile, View, Way};

/// How much of a state each unit keeps of the step before, of a network with zoneout.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Hold {
    /// Nothing.
    None,
    /// All where there is a 0, else nothing: `[T·B, D·H]`, of an h that is projected `[T·B, D·P]`, by time.
    Drawn(View),
    /// So large a part; only forwards.
    Share(f64),
}

impl Hold {
    /// The draws, where there are any.
    pub(crate) fn drawn(&self) -> Option<&View> {
        if let Hold::Drawn(view) = self { Some(view) } else { None }
    }
}

/// The recurrence over T steps; forwards it fills the history, backwards it turns the gates into their gradients.
///
/// D directions run side by side, the second, or the only one of a reverse recurrence, from the last step to the first.
/// A sequence that is shorter holds its state while the others go on, so its final state is its last one, and the
/// reverse direction starts at its own end.
#[derive(Clone, Debug)]
pub struct Recurrence {
    /// The cell.
    pub cell: Cell,
    /// What its gates are of their sums.
    pub gate_activation: GateActivation,
    /// What c is cut off at, of a cell that has one.
    pub cell_clip: Option<f64>,
    /// What units keep of h, and of c of a cell that has one. What is drawn of both, and the dropout's mask where there
    /// is one, lies in one tensor.
    pub zoneout: [Hold; 2],
    /// D, 1 or 2.
    pub directions: usize,
    /// Whether the one direction is from the last step to the first.
    pub reverse: bool,
    /// T.
    pub steps: usize,
    /// B.
    pub batch: usize,
    /// H.
    pub hidden: usize,
    /// Where h is projected: as an LSTM's or a CIFG's may be.
    pub projection: Option<Projection>,
    /// `[B]`: how many steps of each sequence are valid; 0 or more. With resets `[T+2, B]`: of each step and of the one
    /// after the last, too, which sequences begin anew there, 0 or 1.
    pub lengths: TensorId,
    /// Where sequences may begin anew within the window, the slot, behind all others, in which the state lies that they
    /// begin from: of the history and, of a second state, of `saved`. Backwards its gradient is added to what is there:
    /// of h in that slot of the gradient of h, of a second state in the slot behind that one.
    pub resets: Option<usize>,
    /// U `[D·G·H, H]`. Here and below the H of h, of what U is multiplied by, is P where h is projected.
    pub weight: View,
    /// Uᵀ `[H, D·G·H]`, if the schedule is [`RecurrenceMode::WholeSequence`]; only forwards.
    pub weight_transposed: Option<View>,
    /// b_U `[1, D·G·H]`; only forwards.
    pub bias: Option<View>,
    /// `[B, D·H]`, the first rows of a tensor: what multiplies the operand of every product with U, the same at all
    /// steps (Gal & Ghahramani 2016).
    pub dropout_mask: Option<TensorId>,
    /// `[T, B, D·G·H]`. Forwards: W·x + b_W, read; a cell that needs them later leaves its activated gates in their
    /// place. Backwards: the gradient of W·x + b_W, written.
    pub gates: TensorId,
    /// h `[T+D, B, D·H]`, of a reverse recurrence `[T+2, B, H]`. Of the forward direction slot 0 is the initial state
    /// and slot t + 1 is h after step t; of the reverse direction slot T+1 is the initial state, and slot t + 1 again
    /// is h after step t. Forwards: slots 1 to T are written. Backwards: read.
    pub history: TensorId,
    /// What the cell keeps beside gates and h: c `[T+D, B, D·H]` of an LSTM (slots as in the history; backwards the
    /// gradient of the c before it takes a c's place), U·h + b_U `[T, B, D·G·H]` of a GRU (backwards its gradient), or
    /// the second product's operand `[T, B, D·H]`.
    pub saved: Option<TensorId>,
    /// Of a cell with peepholes w_ci, w_cf and w_co `[3, D·H]` and behind them, of a training, `[T·B, 3·D·H + 1]`:
    /// backwards what each step and sequence adds to the gradient of these, and a 1.
    pub peepholes: Option<TensorId>,
    /// How it is cut into dispatches.
    pub schedule: RecurrenceMode,
    /// What a workgroup of a dispatch takes.
    pub tile: Tile,
}

impl Recurrence {
    /// `[T, B, D·G·H]`: after the backward pass, the gradient of U·h + b_U.
    pub fn recurrent_gradient(&self) -> TensorId {
        match (self.cell.saved(), self.saved) {
            (Saved::Recurrent, Some(saved)) => saved,
            _ => self.gates,
        }
    }

    /// G·H.
    pub(crate) fn rows(&self) -> usize {
        self.cell.gates() * self.hidden
    }

    /// D·H.
    pub(crate) fn width(&self) -> usize {
        self.directions * self.hidden
    }

    /// P, or H without a projection: the width of h of one direction.
    pub(crate) fn operand(&self) -> usize {
        self.projection.map_or(self.hidden, |projection| projection.size)
    }

    /// The width of a slot of a state, h being 0 and c 1.
    pub(crate) fn state_width(&self, kind: usize) -> usize {
        self.directions * if kind == 0 { self.operand() } else { self.hidden }
    }

    /// How many dispatches a step takes that goes by steps.
    pub(crate) fn dispatches(&self) -> usize {
        self.cell.products() + usize::from(self.projection.is_some())
    }

    /// The slot of a direction's state after a step, counted from 0 in the order in which it reads; before the first
    /// with `None`.
    pub(crate) fn slot(&self, direction: usize, step: Option<usize>) -> usize {
        let done = step.map_or(0, |step| step + 1);
        if self.is_reverse(direction) { self.steps + 1 - done } else { done }
    }

    /// Whether a direction is from the last step to the first.
    pub(crate) fn is_reverse(&self, direction: usize) -> bool {
        self.reverse || direction == 1
    }

    /// The elements of one row of what peepholes leave: what goes to the gradient of each, and a 1.
    pub(crate) fn peephole_row(&self) -> usize {
        self.width().saturating_mul(3).saturating_add(1)
    }

    /// The tensor of what dropout and zoneout drew, of which something is read.
    pub(crate) fn masks(&self) -> impl Iterator<Item = TensorId> {
        let drawn = self.zoneout.iter().filter_map(Hold::drawn).map(|view| view.tensor);
        self.dropout_mask.into_iter().chain(drawn)
    }

    /// The slots of a history.
    pub(crate) fn slots(&self) -> usize {
        self.steps.saturating_add(if self.reverse { 2 } else { self.directions })
    }
}

/// h_t = W_hr·(o ⊙ tanh(c_t)), which has no bias (Sak, Senior & Beaufays 2014): one dispatch more a step.
#[derive(Clone, Copy, Debug)]
pub struct Projection {
    /// P.
    pub size: usize,
    /// W_hr `[D·P, H]`.
    pub weight: View,
    /// `[T·B, D·H]`: o ⊙ tanh(c_t), zero where a sequence is over; of the history's tensor, behind its slots. Forwards
    /// it is written, backwards it is for the gradient of W_hr alone.
    pub projected: View,
}

/// The same backwards.
#[derive(Clone, Debug)]
pub struct BackwardRecurrence {
    /// As forwards.
    pub recurrence: Recurrence,
    /// `[T+D, B, D·H]`, slots as in the history. At the slots of h_1 to h_T the gradient that comes from above, read,
    /// and the whole gradient of h_t, written; at the initial state's slot its gradient, written.
    pub upstream: TensorId,
    /// `[T·B, D·P]` of upstream's tensor, behind its slots, where h is projected and zoneout drew what is kept of it:
    /// of the gradient of h_t that of W_hr·(o ⊙ tanh(c_t)), written.
    pub projected: Option<View>,
    /// Whether the gradient of the initial state is wanted; else part of it is left at its slot.
    pub to_start: bool,
    /// Whether the steps go on after these, and the gradient of the last state comes from there: of h it lies in slot
    /// T+1 of `upstream`, of a second state in slot T+1 of its history. For one direction, which is forward.
    pub carried: bool,
}

impl Operation for Recurrence {
    fn name(&self) -> String {
        self.called("forward")
    }

    fn operands(&self, _: &Plan) -> Vec<Operand> {
        self.moved(Way::Forward, self.steps as u64)
    }

    fn flops(&self, _: &Plan) -> u64 {
        self.work(Way::Forward, self.steps as u64)
    }

    fn walk(&self, _: &Plan) -> Walk {
        self.steps_of(Way::Forward)
    }
}

impl Operation for BackwardRecurrence {
    fn name(&self) -> String {
        self.recurrence.called("backward")
    }

    fn operands(&self, _: &Plan) -> Vec<Operand> {
        let mut operands = self.recurrence.moved(Way::Backward, self.firsts());
        // Counted with the states.
        operands.insert(1, Operand::update((self.upstream, 0)));
        operands
    }

    fn flops(&self, _: &Plan) -> u64 {
        self.recurrence.work(Way::Backward, self.firsts())
    }

    fn walk(&self, _: &Plan) -> Walk {
        self.recurrence.steps_of(Way::Backward)
    }
}

impl BackwardRecurrence {
    /// How often the first product is taken: the last step's gradient goes through it only after that step, and to the
    /// start if that is wanted.
    fn firsts(&self) -> u64 {
        self.recurrence.steps as u64 - 1 + u64::from(self.to_start)
    }
}

impl Recurrence {
    fn called(&self, way: &str) -> String {
        let schedule = if self.schedule == RecurrenceMode::PerStep { "by steps" } else { "as a whole" };
        let projected = if self.projection.is_some() { " projected" } else { "" };
        format!("{}{projected} {way} {schedule}", self.cell.name())
    }

    /// Gates, and those of them that come with the second product.
    fn gates_by_product(&self) -> [u64; 2] {
        let (gates, first) = (self.cell.gates() as u64, self.cell.first_gates() as u64);
        [first, gates - first]
    }

    /// How often the second product is taken.
    fn seconds(&self) -> u64 {
        if self.gates_by_product()[1] > 0 { self.steps as u64 } else { 0 }
    }

    /// Floating-point operations, the first product being taken so often.
    fn work(&self, way: Way, firsts: u64) -> u64 {
        let units = (self.batch * self.width()) as u64;
        let [first, second] = self.gates_by_product();
        let products = 2 * units * self.operand() as u64 * (first * firsts + second * self.seconds());
        let projection = self.projection.map_or(0, |projection| 2 * units * projection.size as u64);
        // A state's two parts and their sum, or the two parts of its gradient.
        let held = self.zoneout.iter().enumerate().filter(|(_, hold)| **hold != Hold::None);
        let held: u64 = held.map(|(kind, _)| 4 * (self.batch * self.state_width(kind)) as u64).sum();
        self.steps as u64 * (units * pointwise(self.cell, way).flops + held + projection) + products
    }

    /// What is read and written, the tensor that it fills first.
    fn moved(&self, way: Way, firsts: u64) -> Vec<Operand> {
        let [steps, batch, width, operand, products] =
            [self.steps, self.batch, self.width(), self.operand(), self.dispatches()].map(|size| size as u64);
        let (units, [first, second], seconds) = (batch * width, self.gates_by_product(), self.seconds());
        // How many dispatches read each part of U.
        let (firsts_read, seconds_read, dispatches) = match self.schedule {
            RecurrenceMode::WholeSequence => (firsts.min(1), seconds.min(1), 1),
            RecurrenceMode::PerStep => (firsts, seconds, steps * products),
        };
        let gate_rows = first * firsts_read + second * seconds_read;
        let pointwise = pointwise(self.cell, way);
        let each = |each: u64| steps * units * each;
        let (mut gates, mut saved) = (each(pointwise.gates), self.saved.map(|saved| (saved, each(pointwise.saved))));
        if way == Way::Backward && self.schedule == RecurrenceMode::PerStep {
            // What goes through U to the step before was written by another dispatch.
            let again = units * first * firsts;
            match &mut saved {
                Some((saved, moved)) if *saved == self.recurrent_gradient() => *moved += again,
                _ => gates += again,
            }
            gates += units * second * seconds;
        }
        // Counts are of elements that go either way.
        let gates = Operand::update((self.gates, 0)).of(gates);
        let mut states = (self.history, each(pointwise.states));
        if let Some(projection) = self.projection {
            // h and what it is projected from, or its gradient once more, in the place of states as wide as c.
            let h = batch * (self.directions * projection.size) as u64;
            let of_made = u64::from(self.zoneout[0].drawn().is_some());
            states.1 = steps * if way == Way::Forward { 2 * h + 2 * units } else { (3 + of_made) * h };
        }
        // A part of a window that goes by steps reads U as it is, though the other parts have it transposed.
        let u = match (way, self.schedule) {
            (Way::Forward, RecurrenceMode::WholeSequence) => self.weight_transposed.unwrap_or(self.weight),
            _ => self.weight,
        };
        let u = Operand::read(&u).of(width * operand * gate_rows);
        let mut operands = match way {
            Way::Forward => vec![Operand::update((self.history, 0)).of(states.1), gates, u],
            Way::Backward => vec![gates, u, Operand::read(states)],
        };
        operands.push(Operand::read((self.lengths, batch * dispatches)));
        operands.extend(saved.map(|(saved, moved)| Operand::update((saved, 0)).of(moved)));
        let of_peepholes = each(if way == Way::Forward { 3 } else { 6 });
        operands.extend(self.peepholes.map(|peepholes| Operand::update((peepholes, 0)).of(of_peepholes)));
        if let Some(masks) = self.masks().next() {
            let masked = batch * self.state_width(0) as u64 * (firsts_read + seconds_read);
            let of_dropout = self.dropout_mask.map_or(0, |_| masked);
            let drawn: u64 = self.zoneout.iter().filter_map(Hold::drawn).map(|view| view.len() as u64).sum();
            operands.push(Operand::read((masks, of_dropout + drawn)));
        }
        operands.extend(self.projection.map(|p| Operand::read(&p.weight).of(steps * p.weight.len() as u64)));
        if way == Way::Forward {
            operands.extend(self.bias.iter().map(|bias| Operand::read(bias).of(width * gate_rows)));
        }
        operands
    }

    fn steps_of(&self, way: Way) -> Walk {
        let (per_round, around) = self.tile.iterations(self.schedule, way, self);
        let is_cut = self.schedule == RecurrenceMode::WholeSequence;
        Walk { length: if is_cut { self.steps } else { 1 }, stride: 1, per_round, around, is_cut }
    }
}

/// Of a cell's pointwise functions, for one unit of one sequence at one step: floating-point operations, and elements
/// read and written.
struct Pointwise {
    flops: u64,
    /// Of the tensor of gates.
    gates: u64,
    /// Of h and its gradient.
    states: u64,
    /// Of what the cell keeps beside them.
    saved: u64,
}

fn pointwise(cell: Cell, way: Way) -> Pointwise {
    let [flops, gates, states, saved] = match (cell, way) {
        // x + r and its function.
        (Cell::Elman(_), Way::Forward) => [2, 1, 2, 0],
        // dh·(1 − h²), of relu a choice; dh and h read, dh written.
        (Cell::Elman(Activation::Relu), Way::Backward) => [0, 1, 3, 0],
        (Cell::Elman(_), Way::Backward) => [3, 1, 3, 0],
        // Four sums and their functions, f·c + i·g, o·tanh c; the gates read and left activated, c read and written.
        (Cell::Lstm, Way::Forward) => [13, 8, 2, 2],
        // tanh c, dc (5), each gate (4), dc·f; c_t, c_(t-1) and dc read, the gradient of c_(t-1) written.
        (Cell::Lstm, Way::Backward) => [23, 8, 2, 4],
        // Three sums and their functions, f·c + (1 − f)·g, o·tanh c.
        (Cell::Cifg, Way::Forward) => [12, 6, 2, 2],
        // tanh c, dc (5), f and g (5 each), o (4), dc·f.
        (Cell::Cifg, Way::Backward) => [21, 6, 2, 4],
        // As an LSTM, with a product and a sum more at three gates.
        (Cell::PeepholeLstm, Way::Forward) => [19, 8, 2, 2],
        // As an LSTM; w·d added to the gradients of c (6), and what goes to that of w (3).
        (Cell::PeepholeLstm, Way::Backward) => [32, 8, 2, 4],
        // r and z (2 each), n (3), n + z·(h − n); U·h + b_U is kept.
        (Cell::Gru(Reset::AfterProduct), Way::Forward) => [10, 6, 2, 3],
        // dn (5), dr (4), dz (5), dh·z added to the gradient of h_(t-1), dn·r; of U·h that of n read, all of its
        // gradient written.
        (Cell::Gru(Reset::AfterProduct), Way::Backward) => [17, 6, 5, 4],
        // r and z (2 each), the operand, n (2), n + z·(h − n); z and h are read for both products.
        (Cell::Gru(Reset::BeforeProduct), Way::Forward) => [10, 7, 3, 2],
        // dh·z added, dz (5), dn (5); the operand's gradient times r added, dr (4).
        (Cell::Gru(Reset::BeforeProduct), Way::Backward) => [18, 6, 8, 0],
    };
    Pointwise { flops, gates, states, saved }
}

/// Elements of a sum that the drivers of a recurrence load at once.
const DEPTH: u64 = 4;

impl Tile {
    /// The iterations that an invocation makes a step, and before and after all of them.
    fn iterations(&self, schedule: RecurrenceMode, way: Way, r: &Recurrence) -> (u64, u64) {
        let [threads, sequences, units, split] =
            [self.threads, self.sequences, self.units, self.split].map(|n| u64::from(n.max(1)));
        let [hidden, gates, first] = [r.hidden, r.cell.gates(), r.cell.first_gates()].map(|n| n as u64);
        // A thread's part of a sum: four elements a round, each an iteration of a loop inside, and what is left by
        // ones. Loops over the gates of several units are not unrolled everywhere.
        let inside = match (units, way) {
            (1, _) => 0,
            (_, Way::Forward) => units * gates,
            (_, Way::Backward) => units,
        };
        let part = |length: u64| {
            let part = length.div_ceil(split);
            part * (1 + inside) + part / DEPTH + DEPTH
        };
        let products = |pass: &dyn Fn(u64) -> u64| match way {
            Way::Forward => r.cell.products() as u64 * pass(hidden),
            Way::Backward => pass(first * hidden) + if first < gates { pass((gates - first) * hidden) } else { 0 },
        };
        // What a unit is made of its sums: its gates are loaded, and each sum is added up.
        let unit = r.cell.products() as u64 * (1 + gates + gates * (1 + split));
        match schedule {
            RecurrenceMode::PerStep => {
                let units = (sequences * (threads / split) * units).div_ceil(threads);
                // A dispatch is of one product: the longer one.
                let longest = match way {
                    Way::Forward => part(hidden),
                    Way::Backward => part(first.max(gates - first) * hidden),
                };
                (longest + units * unit, 0)
            }
            RecurrenceMode::WholeSequence => {
                let passes = hidden.div_ceil((threads / split * units).max(1));
                let sums = products(&|length| passes * (1 + part(length)));
                let finished = (sequences * hidden).div_ceil(threads);
                let start = match way {
                    Way::Forward => finished,
                    Way::Backward => {
                        finished * (1 + gates) + passes * (1 + part(first * hidden)) + finished * (1 + split)
                    }
                };
                (1 + sums + finished * unit, start)
            }
        }
    }
}

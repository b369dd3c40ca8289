//! Where barriers stand: every thread of a workgroup has to reach each of them, and FXC, the compiler of DX12 where no
//! other is shipped, has to see that. naga's validation says nothing of either.
//!
//! The contract: no barrier is in control flow that differs from thread to thread, and no loop without a barrier
//! branches on the counter of one around a barrier or on a parameter that bounds one, as FXC takes these to differ from
//! then on (X3663, X4026). Of what FXC refuses no more than this is known: it was given each of the small shaders
//! below, refused those of `REFUSED` and took those of `TAKEN`.

use std::collections::{HashMap, HashSet};

use naga::{
    AddressSpace, BinaryOperator, Binding, Block, BuiltIn, Expression, Function, Handle, LocalVariable, Module,
    Statement, StorageAccess,
};
use recurrent::internals::gpu::kernels::all;

/// What is known of a value.
#[derive(Clone, Debug, Default)]
struct Value {
    /// Whether it is a counter or a bound as it is, or made of one by comparison alone. Arithmetic and a `select` hide
    /// one from FXC.
    is_counter: bool,
    /// Whether it may differ from thread to thread.
    varies: bool,
    /// Of a structure that was put together, its fields.
    fields: Vec<Value>,
}

impl Value {
    fn field(mut self, index: usize) -> Value {
        if index < self.fields.len() { self.fields.swap_remove(index) } else { self }
    }

    fn or(self, other: Value) -> Value {
        // Where one is known as a whole alone, so is either.
        Value {
            is_counter: self.is_counter || other.is_counter,
            varies: self.varies || other.varies,
            fields: self.fields.into_iter().zip(other.fields).map(|(a, b)| a.or(b)).collect(),
        }
    }

    fn no_counter(self) -> Value {
        Value { is_counter: false, ..self }
    }
}

/// Where a statement is.
#[derive(Clone, Copy, PartialEq)]
enum Within {
    /// In no loop.
    Nothing,
    /// In a loop around a barrier.
    Turn,
    /// In a loop without a barrier.
    Inner,
}

fn has_barrier(module: &Module, block: &Block) -> bool {
    let has = |block: &Block| has_barrier(module, block);
    block.iter().any(|statement| match statement {
        Statement::ControlBarrier(_) | Statement::WorkGroupUniformLoad { .. } => true,
        Statement::Block(block) => has(block),
        Statement::If { accept, reject, .. } => has(accept) || has(reject),
        Statement::Switch { cases, .. } => cases.iter().any(|case| has(&case.body)),
        Statement::Loop { body, continuing, .. } => has(body) || has(continuing),
        Statement::Call { function, .. } => has(&module.functions[*function].body),
        _ => false,
    })
}

/// The parameter that an expression reads, by its place among all.
fn parameter(module: &Module, function: &Function, at: Handle<Expression>) -> Option<u32> {
    let Expression::AccessIndex { base, index } = function.expressions[at] else { return None };
    let Expression::GlobalVariable(global) = function.expressions[base] else { return None };
    (module.global_variables[global].space == AddressSpace::Uniform).then_some(index)
}

/// Adds the parameters that the exits of a block's loops around barriers compare.
fn add_bounds(module: &Module, function: &Function, block: &Block, bounds: &mut HashSet<u32>) {
    for statement in block.iter() {
        match statement {
            Statement::Block(block) => add_bounds(module, function, block, bounds),
            Statement::If { accept, reject, .. } => {
                [accept, reject].into_iter().for_each(|block| add_bounds(module, function, block, bounds));
            }
            Statement::Loop { body, .. } => {
                add_bounds(module, function, body, bounds);
                let exits = body.iter().filter_map(|statement| match statement {
                    Statement::If { condition, reject, .. } if !reject.is_empty() => Some(*condition),
                    _ => None,
                });
                for exit in exits.filter(|_| has_barrier(module, body)) {
                    let Expression::Binary { left, right, .. } = function.expressions[exit] else { continue };
                    let loaded = [left, right].into_iter().filter_map(|side| match function.expressions[side] {
                        Expression::Load { pointer } => parameter(module, function, pointer),
                        _ => None,
                    });
                    bounds.extend(loaded);
                }
            }
            _ => {}
        }
    }
}

/// One function as it is called from one place.
struct Walk<'a> {
    module: &'a Module,
    function: &'a Function,
    arguments: Vec<Value>,
    /// The parameters that bound loops around barriers, by their places among all.
    bounds: &'a HashSet<u32>,
    counters: HashSet<Handle<LocalVariable>>,
    locals: HashMap<Handle<LocalVariable>, Value>,
    results: HashMap<Handle<Expression>, Value>,
    returned: Option<Value>,
    /// Whether not all threads are here: by a branch, or because some left the loop or the function.
    parted: bool,
    left_loop: bool,
    left_function: bool,
}

impl<'a> Walk<'a> {
    fn new(
        module: &'a Module,
        function: &'a Function,
        arguments: Vec<Value>,
        bounds: &'a HashSet<u32>,
        parted: bool,
    ) -> Self {
        let (counters, locals, results, returned) = Default::default();
        let (left_loop, left_function) = (false, false);
        Walk {
            module,
            function,
            arguments,
            bounds,
            counters,
            locals,
            results,
            returned,
            parted,
            left_loop,
            left_function,
        }
    }

    fn value(&self, at: Handle<Expression>) -> Value {
        use BinaryOperator as Op;
        let all = |of: &[Handle<Expression>]| of.iter().map(|e| self.value(*e)).fold(Value::default(), Value::or);
        match &self.function.expressions[at] {
            Expression::FunctionArgument(index) => self.arguments[*index as usize].clone(),
            Expression::GlobalVariable(global) => {
                let is_same = match self.module.global_variables[*global].space {
                    AddressSpace::Uniform => true,
                    // Where every thread reads the same element; the index says so.
                    AddressSpace::Storage { access } => !access.contains(StorageAccess::STORE),
                    _ => false,
                };
                Value { varies: !is_same, ..Value::default() }
            }
            Expression::LocalVariable(local) => {
                let value = self.locals.get(local).cloned().unwrap_or_default();
                Value { is_counter: value.is_counter || self.counters.contains(local), ..value }
            }
            Expression::Load { pointer } => self.value(*pointer),
            Expression::CallResult(_) => self.results.get(&at).cloned().unwrap_or_default(),
            Expression::Compose { components, .. } => {
                Value { fields: components.iter().map(|c| self.value(*c)).collect(), ..all(components) }
            }
            Expression::AccessIndex { base, index } => {
                let is_bound =
                    parameter(self.module, self.function, at).is_some_and(|index| self.bounds.contains(&index));
                let value = self.value(*base).field(*index as usize);
                Value { is_counter: value.is_counter || is_bound, ..value }
            }
            Expression::Access { base, index } => Value { varies: all(&[*base, *index]).varies, ..self.value(*base) },
            Expression::Unary { expr, .. } => self.value(*expr),
            Expression::Binary { op, left, right } => match op {
                Op::Equal | Op::NotEqual | Op::Less | Op::LessEqual | Op::Greater | Op::GreaterEqual => {
                    all(&[*left, *right])
                }
                Op::LogicalAnd | Op::LogicalOr => all(&[*left, *right]),
                _ => all(&[*left, *right]).no_counter(),
            },
            Expression::Select { condition, accept, reject } => all(&[*condition, *accept, *reject]).no_counter(),
            Expression::Splat { value, .. } => self.value(*value).no_counter(),
            Expression::Swizzle { vector, .. } => self.value(*vector).no_counter(),
            Expression::As { expr, .. } => self.value(*expr).no_counter(),
            Expression::Relational { argument, .. } => self.value(*argument).no_counter(),
            Expression::Math { arg, arg1, arg2, arg3, .. } => {
                let given: Vec<_> = [Some(*arg), *arg1, *arg2, *arg3].into_iter().flatten().collect();
                all(&given).no_counter()
            }
            Expression::Literal(_)
            | Expression::Constant(_)
            | Expression::Override(_)
            | Expression::ZeroValue(_)
            | Expression::ArrayLength(_) => Value::default(),
            // What no kernel has.
            _ => Value { varies: true, ..Value::default() },
        }
    }

    /// The local variable that a pointer is of.
    fn local(&self, pointer: Handle<Expression>) -> Option<Handle<LocalVariable>> {
        match &self.function.expressions[pointer] {
            Expression::LocalVariable(local) => Some(*local),
            Expression::AccessIndex { base, .. } | Expression::Access { base, .. } => self.local(*base),
            _ => None,
        }
    }

    fn are_parted(&self) -> bool {
        self.parted || self.left_loop || self.left_function
    }

    fn says(&self, what: &str) -> Result<(), String> {
        Err(format!("{}: {what}", self.function.name.as_deref().unwrap_or("the entry point")))
    }

    /// Goes through a block; the error is the first barrier or branch that must not be.
    fn block(&mut self, block: &Block, within: Within) -> Result<(), String> {
        for statement in block.iter() {
            match statement {
                Statement::ControlBarrier(_) | Statement::WorkGroupUniformLoad { .. } if self.are_parted() => {
                    self.says("a barrier that only some threads may reach")?;
                }
                Statement::Block(block) => self.block(block, within)?,
                Statement::If { condition, accept, reject } => self.branch(*condition, [accept, reject], within)?,
                Statement::Switch { selector, cases } => {
                    self.branch(*selector, cases.iter().map(|case| &case.body), within)?;
                }
                Statement::Loop { body, continuing, break_if } => {
                    let turns = has_barrier(self.module, body) || has_barrier(self.module, continuing);
                    if turns {
                        let stored = continuing.iter().filter_map(|statement| match statement {
                            Statement::Store { pointer, .. } => self.local(*pointer),
                            _ => None,
                        });
                        let stored: Vec<_> = stored.collect();
                        self.counters.extend(stored);
                    }
                    let within = if turns { Within::Turn } else { Within::Inner };
                    let around = (self.parted, self.left_loop);
                    self.parted |= std::mem::take(&mut self.left_loop);
                    // Twice, as a turn reads what the one before it stored.
                    for _ in 0..2 {
                        self.block(body, within)?;
                        self.block(continuing, within)?;
                        break_if.map_or(Ok(()), |condition| self.branch(condition, [], within))?;
                    }
                    (self.parted, self.left_loop) = around;
                }
                Statement::Break | Statement::Continue => self.left_loop |= self.are_parted(),
                Statement::Return { value } => {
                    self.left_function |= self.are_parted();
                    let value = value.map(|value| self.value(value)).unwrap_or_default();
                    let varies = value.varies || self.are_parted();
                    let value = Value { varies, ..value };
                    self.returned = Some(self.returned.take().map_or(value.clone(), |known| known.or(value)));
                }
                Statement::Store { pointer, value } => {
                    if let Some(local) = self.local(*pointer) {
                        let value = self.value(*value);
                        let value = Value { varies: value.varies || self.are_parted(), ..value };
                        let known = self.locals.remove(&local);
                        self.locals.insert(local, known.map_or(value.clone(), |known| known.or(value)));
                    }
                }
                Statement::Call { function, arguments, result } => {
                    let arguments = arguments.iter().map(|argument| self.value(*argument)).collect();
                    let function = &self.module.functions[*function];
                    let mut called = Walk::new(self.module, function, arguments, self.bounds, self.are_parted());
                    called.block(&function.body, within)?;
                    result.map(|result| self.results.insert(result, called.returned.unwrap_or_default()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn branch<'b>(
        &mut self,
        condition: Handle<Expression>,
        arms: impl IntoIterator<Item = &'b Block>,
        within: Within,
    ) -> Result<(), String> {
        let condition = self.value(condition);
        if within == Within::Inner && condition.is_counter {
            self.says("a loop branches on the counter or on a bound of one around a barrier")?;
        }
        let parted = self.parted;
        self.parted |= condition.varies;
        arms.into_iter().try_for_each(|arm| self.block(arm, within))?;
        self.parted = parted;
        Ok(())
    }
}

/// Whether the shader's barriers stand where they may.
fn check(source: &str) -> Result<(), String> {
    let module = naga::front::wgsl::parse_str(source).map_err(|error| error.emit_to_string(source))?;
    let entry = &module.entry_points[0].function;
    let argument = |argument: &naga::FunctionArgument| {
        let is_same = matches!(argument.binding, Some(Binding::BuiltIn(BuiltIn::WorkGroupId | BuiltIn::NumWorkGroups)));
        Value { varies: !is_same, ..Value::default() }
    };
    let arguments = entry.arguments.iter().map(argument).collect();
    let mut bounds = HashSet::new();
    for (_, function) in module.functions.iter() {
        add_bounds(&module, function, &function.body, &mut bounds);
    }
    add_bounds(&module, entry, &entry.body, &mut bounds);
    Walk::new(&module, entry, arguments, &bounds, false).block(&entry.body, Within::Nothing)
}

#[test]
fn no_barrier_is_where_fxc_refuses_it() {
    for kernel in all() {
        check(&kernel.wgsl(&[])).unwrap_or_else(|error| panic!("{}: {error}", kernel.name));
    }
}

/// A shader with a loop around a barrier, statements before an inner loop and those in it.
fn small(before: &str, inner: &str) -> String {
    small_after("", before, inner)
}

/// The same with statements before the outer loop.
fn small_after(first: &str, before: &str, inner: &str) -> String {
    format!(
        "
        struct Params {{ turns: u32, count: u32 }}
        struct Place {{ is_first: bool, next: u32 }}
        @group(0) @binding(0) var<uniform> params: Params;
        @group(0) @binding(1) var<storage, read_write> numbers: array<f32>;
        var<workgroup> shared_floats: array<f32, 64>;
        fn place(turn: u32) -> Place {{ return Place(turn == 0u, turn + 1u); }}
        fn change(x: f32, turn: u32) -> f32 {{
            if turn != 3u {{ return 2.0 * x; }}
            return x;
        }}
        fn change_at(x: f32, at: Place) -> f32 {{
            if at.is_first {{ return 2.0 * x; }}
            return x;
        }}
        fn change_by(x: f32, at: Place) -> f32 {{
            if at.next == 1u {{ return 2.0 * x; }}
            return x;
        }}
        @compute @workgroup_size(64)
        fn main(@builtin(local_invocation_index) lid: u32) {{
            {first}
            for (var turn = 0u; turn < params.turns; turn += 1u) {{
                {before}
                for (var i = lid; i < params.count; i += 64u) {{
                    var x = numbers[i];
                    {inner}
                    numbers[i] = x + shared_floats[63u - lid];
                }}
                workgroupBarrier();
                shared_floats[lid] = numbers[lid];
                workgroupBarrier();
            }}
        }}"
    )
}

/// What FXC refused.
const REFUSED: [[&str; 2]; 11] = [
    ["", "if params.turns > 3u { x *= 2.0; }"],
    ["", "if turn > 0u { x *= 2.0; }"],
    ["", "if turn != 7u { x *= 2.0; } else { x += 1.0; }"],
    ["let now = turn;", "if now == 2u { x *= 2.0; }"],
    ["var now = turn;", "if now == 2u { x *= 2.0; }"],
    ["let is_first = turn == 0u;", "if is_first { x *= 2.0; }"],
    ["", "if turn == 1u && i > 3u { x *= 2.0; }"],
    ["", "for (var k = 0u; k < turn; k += 1u) { x *= numbers[k]; }"],
    ["", "x = change(x, turn);"],
    ["", "x = change_at(x, place(turn));"],
    ["", "switch turn { case 0u: { x *= 2.0; } default: {} }"],
];

/// What FXC took.
const TAKEN: [[&str; 2]; 8] = [
    ["", "x *= select(1.0, 2.0, turn == 0u);"],
    ["", "let now = select(turn, 5u, params.count == 3u); if now == 0u { x *= 2.0; }"],
    ["let left = params.turns - 1u - turn;", "if left == 0u { x *= 2.0; }"],
    ["", "if turn + 1u == 1u { x *= 2.0; }"],
    ["", "x = change_by(x, place(turn));"],
    ["", "if params.count > 7u { x *= 2.0; }"],
    ["", "if i > 70u { x *= 2.0; }"],
    ["if turn > 0u { numbers[lid] += 1.0; }", ""],
];

/// What FXC refused, and what it took, before the outer loop.
const REFUSED_FIRST: [&str; 2] = [
    "for (var i = lid; i < params.count; i += 64u) { if params.turns > 3u { numbers[i] = 1.0; } }",
    "for (var i = lid; i < params.turns; i += 64u) { numbers[i] = 1.0; }",
];
const TAKEN_FIRST: [&str; 3] = [
    "if params.turns > 3u { for (var i = lid; i < params.count; i += 64u) { numbers[i] = 1.0; } }",
    "for (var i = lid; i < params.count; i += 64u) { numbers[i] = select(1.0, 2.0, params.turns > 3u); }",
    "for (var i = lid; i < params.count; i += 64u) { if params.turns + 1u > 3u { numbers[i] = 1.0; } }",
];

#[test]
fn what_fxc_refused_is_found_and_what_it_took_is_not() {
    for [before, inner] in REFUSED {
        let found = check(&small(before, inner)).expect_err("a branch on the counter was not seen");
        assert!(found.contains("branches on the counter or on a bound"), "{before} {inner}: {found}");
    }
    for [before, inner] in TAKEN {
        assert_eq!(check(&small(before, inner)), Ok(()), "{before} {inner}");
    }
    for first in REFUSED_FIRST {
        let found = check(&small_after(first, "", "")).expect_err("a branch on a bound was not seen");
        assert!(found.contains("branches on the counter or on a bound"), "{first}: {found}");
    }
    for first in TAKEN_FIRST {
        assert_eq!(check(&small_after(first, "", "")), Ok(()), "{first}");
    }
}

#[test]
fn a_barrier_that_only_some_threads_reach_is_found() {
    for before in [
        "if lid > 3u { workgroupBarrier(); }",
        "if numbers[0] > 1.0 { workgroupBarrier(); }",
        "if lid > turn { break; }",
        "if lid == 3u { return; }",
        "for (var k = lid; k < 9u; k += 1u) { workgroupBarrier(); }",
        "var end = 2u; if lid == 3u { end = 3u; } for (var k = 0u; k < end; k += 1u) { workgroupBarrier(); }",
    ] {
        let found = check(&small(before, "")).expect_err("a barrier in varying control flow was not seen");
        assert!(found.contains("only some threads"), "{before}: {found}");
    }
    for before in ["if params.count == turn { break; }", "for (var k = 0u; k < turn; k += 1u) { workgroupBarrier(); }"]
    {
        assert_eq!(check(&small(before, "")), Ok(()), "{before}");
    }
}

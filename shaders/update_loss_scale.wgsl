// update_loss_scale: the factor on the gradient of the loss, halved where the step's finite flag is 0 and doubled after `interval`
// finite steps on end, as long as it stays between `least` and `most`; nothing changes where `more` is not 0.
//
// in      hyper    [6]: –, –, –, row of the metrics, –, more
// in      metrics  [slots, 4]: –, –, –, finite
// in-out  scaling  [3]: the factor, its reciprocal, and how many steps on end were finite
//
// One thread. Doubling and halving are exact, and so is the reciprocal.

struct Params {
    slots: u32,
    interval: u32,
    least: f32,
    most: f32,
    first_workgroup: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> hyper: array<f32>;
@group(0) @binding(2) var<storage, read> metrics: array<f32>;
@group(0) @binding(3) var<storage, read_write> scaling: array<f32>;

@compute @workgroup_size(1)
fn main() {
    if hyper[5] != 0.0 {
        return;
    }
    let slot = min(u32(hyper[3]), params.slots - 1u);
    let scale = scaling[0];
    if metrics[4u * slot + 3u] == 0.0 {
        scaling[2] = 0.0;
        if scale > params.least {
            scaling[0] = 0.5 * scale;
            scaling[1] = 2.0 * scaling[1];
        }
        return;
    }
    let finite = scaling[2] + 1.0;
    if finite < f32(params.interval) {
        scaling[2] = finite;
        return;
    }
    scaling[2] = 0.0;
    if scale < params.most {
        scaling[0] = 2.0 * scale;
        scaling[1] = 0.5 * scaling[1];
    }
}

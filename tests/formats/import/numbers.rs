//! Numbers of other types in files of other programs: what f32 holds is read exactly, what lies between is rounded to
//! the nearest, and what it cannot hold is named with its place.

use half::{bf16, f16};
use recurrent::formats::Names;
use recurrent::{Config, InputKind, Model};
use safetensors::Dtype;

use super::{Tensor, assert_refused, assert_same, config, f32s, file, find, model, tensors};

#[test]
fn numbers_of_16_bits_are_read_exactly() {
    // The largest and the smallest of each type, and the smallest that is not subnormal.
    for bits in [0x0000u16, 0x8000, 0x3c00, 0xbc01, 0x7bff, 0xfbff, 0x0001, 0x8001, 0x0400] {
        let mut given = f32s(&model());
        *find(&mut given, "bias") =
            Tensor { name: "bias".into(), dtype: Dtype::F16, shape: vec![2], bytes: [bits.to_le_bytes(); 2].concat() };
        let read = Model::import_bytes(&file(&given), config(), &Names::new()).unwrap();
        // 2^-24 times the fraction, with a leading one where the exponent is not 0.
        let (exponent, fraction) = ((bits >> 10) & 0x1f, f32::from(bits & 0x3ff));
        let size = match exponent {
            0 => fraction * 2f32.powi(-24),
            e => (1024.0 + fraction) * 2f32.powi(i32::from(e) - 25),
        };
        let want = if bits >> 15 == 1 { -size } else { size };
        assert_eq!(
            read.parameter("bias").unwrap().iter().map(|v| v.to_bits()).collect::<Vec<_>>(),
            [want.to_bits(); 2]
        );
    }
    for bits in [0x0000u16, 0x8000, 0x3f80, 0xbf81, 0x7f7f, 0xff7f, 0x0001, 0x8001, 0x0080] {
        let mut given = f32s(&model());
        *find(&mut given, "bias") =
            Tensor { name: "bias".into(), dtype: Dtype::BF16, shape: vec![2], bytes: [bits.to_le_bytes(); 2].concat() };
        let read = Model::import_bytes(&file(&given), config(), &Names::new()).unwrap();
        // The upper half of an f32.
        let want = u32::from(bits) << 16;
        assert_eq!(read.parameter("bias").unwrap().iter().map(|v| v.to_bits()).collect::<Vec<_>>(), [want; 2]);
    }
}

#[test]
fn every_type_of_real_numbers_is_read_in_every_tensor() {
    let drawn = Model::new(Config::lstm(InputKind::Dense(4), 3, 2).with_layers(2).with_seed(7)).unwrap();
    let import = |given: &[Tensor]| Model::import_bytes(&file(given), drawn.config().clone(), &Names::new()).unwrap();
    let rounded = |round: fn(f32) -> f32| {
        let values: Vec<Vec<f32>> = drawn.tensors().map(|t| t.2.iter().map(|v| round(*v)).collect()).collect();
        let tensors = drawn.tensors().zip(&values).map(|((name, shape, _), v)| (name, shape, v.as_slice()));
        Model::from_tensors(drawn.config().clone(), tensors).unwrap()
    };
    assert_same(&import(&tensors(&drawn, Dtype::F64, |v| f64::from(v).to_le_bytes())), &drawn);
    let half = tensors(&drawn, Dtype::F16, |v| f16::from_f32(v).to_le_bytes());
    assert_same(&import(&half), &rounded(|v| f16::from_f32(v).to_f32()));
    let brain = tensors(&drawn, Dtype::BF16, |v| bf16::from_f32(v).to_le_bytes());
    assert_same(&import(&brain), &rounded(|v| bf16::from_f32(v).to_f32()));
    // A type for every tensor.
    let mut mixed = half;
    mixed[1] = brain[1].clone();
    assert_eq!(import(&mixed).parameter(&mixed[1].name), import(&brain).parameter(&brain[1].name));
}

/// The model's file in which the read-out's bias is two numbers of f64.
fn with_f64_bias(values: [f64; 2]) -> Vec<u8> {
    let mut given = f32s(&model());
    *find(&mut given, "bias") = Tensor {
        name: "bias".into(),
        dtype: Dtype::F64,
        shape: vec![2],
        bytes: values.iter().flat_map(|v| v.to_le_bytes()).collect(),
    };
    file(&given)
}

#[test]
fn a_number_of_64_bits_is_rounded_to_the_nearest() {
    let largest = f64::from(f32::MAX);
    // Half a unit in the last place of f32's largest is as far as a number may be above it.
    let above = largest + 2f64.powi(102);
    for (given, want) in [
        ([0.1, -1.0 / 3.0], [0.1f32, -1.0 / 3.0]),
        ([1e-60, -1e-60], [0.0, -0.0]),
        ([above, -above], [f32::MAX, f32::MIN]),
    ] {
        let read = Model::import_bytes(&with_f64_bias(given), config(), &Names::new()).unwrap();
        let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(read.parameter("bias").unwrap()), bits(&want));
    }
}

#[test]
fn a_number_that_f32_cannot_hold_is_named_with_its_place() {
    for (given, words) in [
        ([0.0, 1e39], "tensor `bias` holds 1e39 at element 1, which f32 cannot hold"),
        ([-1e300, 0.0], "tensor `bias` holds -1e300 at element 0, which f32 cannot hold"),
        ([0.0, f64::NAN], "tensor `bias` holds NaN at element 1"),
        ([f64::NEG_INFINITY, 0.0], "tensor `bias` holds -inf at element 0"),
    ] {
        assert_refused(Model::import_bytes(&with_f64_bias(given), config(), &Names::new()), &[words]);
    }
    for (dtype, bytes) in [
        (Dtype::F16, 0x7c00u16.to_le_bytes().to_vec()),
        (Dtype::BF16, 0x7f80u16.to_le_bytes().to_vec()),
        (Dtype::F32, f32::INFINITY.to_le_bytes().to_vec()),
    ] {
        let mut given = f32s(&model());
        *find(&mut given, "weight_hh_l0") = Tensor {
            name: "weight_hh_l0".into(),
            dtype,
            shape: vec![3, 3],
            bytes: [vec![0; bytes.len() * 8], bytes].concat(),
        };
        let given = Model::import_bytes(&file(&given), config(), &Names::new());
        assert_refused(given, &["tensor `weight_hh_l0` holds inf at element 8"]);
    }
}

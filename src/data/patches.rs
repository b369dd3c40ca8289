//! An image as a sequence: cut into patches that are read in order.
//!
//! The contract: every pixel is in exactly one patch, or it is an error.

use crate::error::{Error, Result};

/// Cuts an image `[height, width]` into patches, from left to right and from top to bottom:
/// `[T, patch_height · patch_width]` with T = (height / patch_height) · (width / patch_width), the pixels of a patch in
/// the same order. Rows are patches of 1 × width.
///
/// ```
/// use recurrent::data::patches;
///
/// let image = [1, 2, 3, 4, 5, 6, 7, 8].map(|pixel| pixel as f32); // 2 × 4
/// assert_eq!(patches(&image, (2, 4), (2, 2))?, [1.0, 2.0, 5.0, 6.0, 3.0, 4.0, 7.0, 8.0]);
/// assert_eq!(patches(&image, (2, 4), (1, 4))?, image); // rows
/// # Ok::<(), recurrent::Error>(())
/// ```
///
/// # Errors
/// [`Error::Shape`] where there are not height · width pixels, [`Error::Data`] where patches do not divide the image.
pub fn patches(pixels: &[f32], (height, width): (usize, usize), patch: (usize, usize)) -> Result<Vec<f32>> {
    if height.checked_mul(width) != Some(pixels.len()) {
        return Err(Error::shape("pixels", &[height, width], &[pixels.len()]));
    }
    let divides = |whole: usize, part: usize| part > 0 && whole.is_multiple_of(part);
    if !divides(height, patch.0) || !divides(width, patch.1) {
        return Err(Error::Data(format!(
            "patches of {} × {} do not divide an image of {height} × {width}",
            patch.0, patch.1
        )));
    }
    let mut sequence = Vec::with_capacity(pixels.len());
    for top in (0..height).step_by(patch.0) {
        for left in (0..width).step_by(patch.1) {
            for row in top..top + patch.0 {
                let first = row * width + left;
                sequence.extend_from_slice(&pixels[first..first + patch.1]);
            }
        }
    }
    Ok(sequence)
}

// Threefry-2x32 with 20 rounds (Salmon et al. 2011): a word that looks random, from a key and a counter. The same bits
// as in Rust, where the generator is tested against its known answers.

/// Four rounds, each an addition, a rotation and an exclusive or.
fn four_rounds(word: vec2<u32>, rotations: vec4<u32>) -> vec2<u32> {
    var w = word;
    for (var round = 0u; round < 4u; round += 1u) {
        w.x += w.y;
        w.y = ((w.y << rotations[round]) | (w.y >> (32u - rotations[round]))) ^ w.x;
    }
    return w;
}

fn threefry(key: vec2<u32>, counter: u32) -> u32 {
    let third = 0x1bd11bdau ^ key.x ^ key.y;
    let even = vec4(13u, 15u, 26u, 6u);
    let odd = vec4(17u, 29u, 16u, 24u);
    var w = four_rounds(vec2(counter + key.x, key.y), even) + vec2(key.y, third + 1u);
    w = four_rounds(w, odd) + vec2(third, key.x + 2u);
    w = four_rounds(w, even) + vec2(key.x, key.y + 3u);
    w = four_rounds(w, odd) + vec2(key.y, third + 4u);
    return four_rounds(w, even).x + third;
}

/// What dropout multiplies the element at a position by: 0, or `kept`.
fn drawn(site: u32, threshold: u32, kept: f32, position: u32) -> f32 {
    let word = threefry(vec2(keys[2u * site], keys[2u * site + 1u]), position);
    return select(kept, 0.0, word < threshold);
}

//! Methods of the standard library's common types, for the moments in which the analysis has not been
//! asked about a type yet.

const VEC: &str = "append as_mut_slice as_slice capacity clear clone dedup dedup_by dedup_by_key drain \
    extend extend_from_slice extract_if insert into_boxed_slice into_iter pop push remove reserve resize \
    resize_with retain retain_mut shrink_to_fit splice split_off swap_remove truncate with_capacity";
const SLICE: &str = "binary_search binary_search_by binary_search_by_key chunks chunks_exact concat contains \
    copy_from_slice copy_within ends_with fill fill_with first first_mut get get_mut is_empty is_sorted iter \
    iter_mut join last last_mut len partition_point repeat reverse rotate_left rotate_right rsplit \
    select_nth_unstable sort sort_by sort_by_cached_key sort_by_key sort_unstable sort_unstable_by \
    sort_unstable_by_key split split_at split_at_mut split_first split_last starts_with swap to_owned to_vec \
    windows";
const STRING: &str = "as_mut_str capacity clear clone drain extend insert insert_str into_bytes pop push \
    push_str remove replace_range reserve retain shrink_to_fit split_off truncate";
const STR: &str = "as_bytes as_str bytes char_indices chars contains ends_with eq_ignore_ascii_case find \
    is_ascii is_char_boundary is_empty len lines make_ascii_lowercase make_ascii_uppercase match_indices \
    matches parse repeat replace replacen rfind rsplit rsplit_once split split_ascii_whitespace split_at \
    split_inclusive split_once split_terminator split_whitespace splitn starts_with strip_prefix strip_suffix \
    to_ascii_lowercase to_ascii_uppercase to_lowercase to_owned to_string to_uppercase trim trim_end \
    trim_end_matches trim_matches trim_start trim_start_matches";
const MAP: &str = "clear clone contains_key drain entry extend get get_key_value get_mut get_or_insert_with \
    insert into_iter into_keys into_values is_empty iter iter_mut keys len remove remove_entry retain values \
    values_mut";
const ORDERED_MAP: &str = "append clear clone contains_key entry extend first_entry first_key_value get get_mut \
    insert into_iter into_keys into_values is_empty iter iter_mut keys last_entry last_key_value len pop_first \
    pop_last range range_mut remove retain split_off values values_mut";
const SET: &str = "clear clone contains difference drain extend get insert intersection into_iter is_disjoint \
    is_empty is_subset is_superset iter len remove replace retain symmetric_difference take union";
const ORDERED_SET: &str = "append clear clone contains difference extend first get insert intersection into_iter \
    is_disjoint is_empty is_subset is_superset iter last len pop_first pop_last range remove replace retain \
    split_off symmetric_difference take union";
const DEQUE: &str = "append as_slices back back_mut clear clone contains drain extend front front_mut get get_mut \
    insert into_iter is_empty iter iter_mut len make_contiguous pop_back pop_front push_back push_front range \
    remove resize retain rotate_left rotate_right split_off swap truncate";
const OPTION: &str = "and and_then as_deref as_mut as_ref clone cloned copied expect filter flatten get_or_insert \
    get_or_insert_with insert inspect is_none is_none_or is_some is_some_and iter map map_or map_or_else ok_or \
    ok_or_else or or_else replace take unwrap unwrap_or unwrap_or_default unwrap_or_else xor zip";
const RESULT: &str = "and and_then as_deref as_mut as_ref clone cloned copied err expect expect_err inspect \
    inspect_err is_err is_err_and is_ok is_ok_and iter map map_err map_or map_or_else ok or or_else unwrap \
    unwrap_err unwrap_or unwrap_or_default unwrap_or_else";
const INTEGER: &str = "abs_diff checked_add checked_div checked_mul checked_pow checked_sub clamp cmp \
    count_ones div_euclid is_power_of_two leading_zeros max min pow rem_euclid saturating_add saturating_mul \
    saturating_sub to_be_bytes to_le_bytes to_string trailing_zeros wrapping_add wrapping_mul wrapping_sub";
const FLOAT: &str = "abs acos asin atan atan2 cbrt ceil clamp cos cosh exp exp2 floor fract hypot is_finite \
    is_infinite is_nan is_sign_negative ln log log10 log2 max min mul_add powf powi recip rem_euclid round \
    signum sin sinh sqrt tan tanh to_bits to_degrees to_radians to_string total_cmp trunc";
const PATH: &str = "as_os_str canonicalize clone components display ends_with exists extension file_name \
    file_stem is_absolute is_dir is_file join metadata parent pop push read_dir set_extension set_file_name \
    starts_with strip_prefix to_path_buf to_str to_string_lossy with_extension with_file_name";

/// Methods of the type that is written so; none of a type that is not here.
pub(super) fn of(kind: &str) -> impl Iterator<Item = &'static str> {
    let kind = kind.trim_start_matches(['&', ' ']).trim_start_matches("mut ");
    let lists: &[&str] = match kind {
        _ if kind.starts_with('[') => &[SLICE],
        _ => match kind.split('<').next().unwrap_or("").rsplit("::").next().unwrap_or("") {
            "Vec" => &[VEC, SLICE],
            "String" => &[STRING, STR],
            "str" => &[STR],
            "HashMap" => &[MAP],
            "BTreeMap" => &[ORDERED_MAP],
            "HashSet" => &[SET],
            "BTreeSet" => &[ORDERED_SET],
            "VecDeque" => &[DEQUE],
            "Option" => &[OPTION],
            "Result" => &[RESULT],
            "PathBuf" | "Path" => &[PATH],
            "f32" | "f64" => &[FLOAT],
            "i8" | "i16" | "i32" | "i64" | "i128" | "isize" | "u8" | "u16" | "u32" | "u64" | "u128"
            | "usize" => &[INTEGER],
            _ => &[],
        },
    };
    lists.iter().flat_map(|list| list.split_whitespace())
}

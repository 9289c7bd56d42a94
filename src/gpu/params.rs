//! Parameter blocks of the kernels, field by field as in the shaders' `struct Params`.

/// Declares a parameter block whose fields are all `u32` or `f32`, so that Rust and WGSL lay it out alike.
macro_rules! params {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $kind:ident),* $(,)? }) => {
        $(#[$doc])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
        pub(super) struct $name {
            $(pub $field: $kind,)*
        }

        #[cfg(test)]
        impl $name {
            /// Name, offset and type of each field.
            pub const FIELDS: &'static [(&'static str, usize, &'static str)] =
                &[$((stringify!($field), std::mem::offset_of!($name, $field), stringify!($kind)),)*];
        }
    };
}

params! {
    /// `linear_forward`, `linear_adjoint`.
    LinearParams {
        grid_width: u32, work_first: u32, work: u32, row_tiles: u32, column_tiles: u32,
        rows: u32, columns: u32, depth: u32, rows_fastest: u32,
        group_first: u32, m_first: u32, m_len: u32, pitch: u32,
        c_per_group: u32, m_per_group: u32, c_total: u32, m_total: u32, taps: u32,
        input_plane: u32, output_plane: u32,
        input_z: u32, input_y: u32, input_x: u32,
        output_z: u32, output_y: u32, output_x: u32,
        kernel_y: u32, kernel_x: u32,
        stride_z: u32, stride_y: u32, stride_x: u32,
        dilation_z: u32, dilation_y: u32, dilation_x: u32,
        pad_z: u32, pad_y: u32, pad_x: u32,
        part_0: u32, part_1: u32, accumulate: u32,
        factor_inner: u32, factor_count: u32, factor_part: u32,
        share_flags: u32, scale: f32, epsilon: f32, depth_blocks: u32, thread_sums: u32,
        phase_z: u32, phase_y: u32, phase_x: u32,
        tap_step_z: u32, tap_step_y: u32, tap_step_x: u32,
        activation_a: f32, activation_b: f32, divide_inner: u32, divide_count: u32,
    }
}

params! {
    /// `quotient`.
    QuotientParams {
        grid_width: u32, len: u32,
        inner_0: u32, count_0: u32, inner_1: u32, count_1: u32,
        sample_len: u32, flags: u32, scale: f32, epsilon: f32,
        factor_inner_0: u32, factor_count_0: u32, factor_how_0: u32,
        factor_inner_1: u32, factor_count_1: u32, factor_how_1: u32,
        divide_inner_0: u32, divide_count_0: u32, divide_flags_0: u32, scale_0: f32, epsilon_0: f32,
        divide_inner_1: u32, divide_count_1: u32, divide_flags_1: u32, scale_1: f32, epsilon_1: f32,
    }
}

params! {
    /// `resample`.
    ResampleParams {
        grid_width: u32, len: u32, rows: u32, inputs: u32, inner: u32, output_axis: u32, offset: u32,
    }
}

params! {
    /// `transpose`.
    TransposeParams {
        grid_width: u32, len: u32,
        dim_0: u32, dim_1: u32, dim_2: u32, dim_3: u32, dim_4: u32, dim_5: u32,
        stride_0: u32, stride_1: u32, stride_2: u32, stride_3: u32, stride_4: u32, stride_5: u32,
    }
}

params! {
    /// `max_pool`, `max_pool_adjoint`.
    WindowsParams {
        grid_width: u32, len: u32,
        input_z: u32, input_y: u32, input_x: u32,
        output_z: u32, output_y: u32, output_x: u32,
        kernel_z: u32, kernel_y: u32, kernel_x: u32,
        stride_z: u32, stride_y: u32, stride_x: u32,
        dilation_z: u32, dilation_y: u32, dilation_x: u32,
        pad_z: u32, pad_y: u32, pad_x: u32,
        divide_inner: u32, divide_count: u32, divide_flags: u32, scale: f32, epsilon: f32,
    }
}

params! {
    /// `activation`, `activation_adjoint`.
    ActivationParams {
        grid_width: u32, len: u32, slope_inner: u32, slope_count: u32, a: f32, b: f32,
    }
}

params! {
    /// `binary`.
    BinaryParams {
        grid_width: u32, len: u32, a_inner: u32, a_count: u32, b_inner: u32, b_count: u32,
        activation_a: f32, activation_b: f32,
    }
}

params! {
    /// `softmax`.
    SoftmaxParams {
        grid_width: u32, lines: u32, size: u32, inner: u32,
    }
}

params! {
    /// `recurrent`, `recurrent_adjoint`.
    RecurrentParams {
        grid_width: u32, len: u32, batch: u32, hidden: u32, steps: u32, position: u32, reverse: u32, final_rows: u32,
        gate: u32, candidate: u32, output_function: u32, h_count: u32, c_count: u32, features: u32, first: u32,
        parity: u32, zero_bias: u32, epsilon: f32, bias_factor: f32,
    }
}

params! {
    /// `embedding`.
    EmbeddingParams {
        grid_width: u32, len: u32, rows: u32, width: u32,
    }
}

params! {
    /// `lrn`, `lrn_adjoint`.
    LrnParams {
        grid_width: u32, len: u32, channels: u32, inner: u32, before: u32, after: u32,
        alpha_over_size: f32, beta: f32, bias: f32,
    }
}

params! {
    /// `distances`, `distances_adjoint`.
    DistancesParams {
        grid_width: u32, values: u32, count: u32, len: u32,
    }
}

params! {
    /// `sample_rms`, `sample_sum`.
    SampleParams {
        grid_width: u32, samples: u32, sample_len: u32, first: u32,
    }
}

params! {
    /// `seed`.
    SeedParams {
        grid_width: u32, samples: u32, sample_len: u32,
    }
}

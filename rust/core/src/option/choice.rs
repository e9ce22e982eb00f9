//! Options with a few named values: the names and the enums they become.

/// Declares an enum whose variants have public names.
macro_rules! named_choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $name {
            /// The public names, in the order of the variants.
            pub const NAMES: &'static [&'static str] = &[$($text),+];

            /// The public name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// The variant of a public name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($text => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

named_choice! {
    /// What unquantised weights and activations are computed in.
    DtypeChoice {
        /// The weights' own, where the machine computes it.
        Auto = "auto",
        /// f32 throughout.
        Float32 = "float32",
        /// bf16 weights, f32 sums.
        Bfloat16 = "bfloat16",
    }
}

named_choice! {
    /// How activations meet integer weights.
    ActivationsChoice {
        /// int8 for integer weights, exact elsewhere.
        Auto = "auto",
        /// Weights are expanded.
        Exact = "exact",
        /// Activations are quantised by row and group.
        Int8 = "int8",
    }
}

named_choice! {
    /// Storage of K and V.
    KvCacheDtypeChoice {
        /// Chosen with `dtype`.
        Auto = "auto",
        /// 4 bytes an element.
        Float32 = "float32",
        /// 2 bytes an element.
        Bfloat16 = "bfloat16",
    }
}

named_choice! {
    /// Who is admitted first, and who gives way.
    SchedulingPolicyChoice {
        /// First come, first served.
        Fcfs = "fcfs",
        /// Smaller priority numbers first.
        Priority = "priority",
    }
}

named_choice! {
    /// What computes the model.
    BackendChoice {
        /// The best one that is built in and fits the machine.
        Auto = "auto",
        /// The CPU kernels.
        Cpu = "cpu",
        /// The slow and obvious one, float32.
        Reference = "reference",
        /// None: the next token is a hash of the prefix.
        Sim = "sim",
    }
}

named_choice! {
    /// Whether the model's generation_config.json fills in what a request leaves out.
    GenerationConfigChoice {
        /// It does, and says so.
        Auto = "auto",
        /// It does not.
        Neutral = "neutral",
    }
}

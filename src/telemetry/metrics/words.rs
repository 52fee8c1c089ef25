//! The closed lists of words that stand in labels.

/// Declares a closed list of label values.
macro_rules! label_values {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
            /// The label value.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }
    };
}

label_values! {
    /// Why a caller got no answer at all.
    Refusal {
        /// The path token is wrong or missing.
        Token = "token",
        /// No client certificate was presented.
        Certificate = "certificate",
        /// It is not the API server's aggregation layer, or somebody else asks by way of it.
        Aggregation = "aggregation",
        /// The path is none of ours.
        Path = "path",
    }
}
label_values! {
    /// Why a proven caller's request was not a review.
    Rejection {
        /// It is not a readable AdmissionReview.
        Unreadable = "unreadable",
        /// It is larger than the limit.
        TooLarge = "too_large",
        /// It did not arrive in time, or broke off.
        Incomplete = "incomplete",
        /// It is not a POST.
        Method = "method",
        /// Too many requests are being read already.
        Overload = "overload",
    }
}
label_values! {
    /// Why a review was let through without a look.
    FailOpenReason {
        /// It panicked.
        Panic = "panic",
        /// Its deadline passed.
        Late = "late",
        /// Too many reviews are under way already.
        Overload = "overload",
    }
}
label_values! {
    /// What the digest that pods run under a tag differs from.
    DriftAgainst {
        /// The one that the registry has for the tag now.
        Registry = "registry",
        /// The one that other pods run.
        Pods = "pods",
    }
}
label_values! {
    /// What the API server is asked by name, or told.
    ApiCall {
        /// A Secret.
        Secret = "secret",
        /// The names of a namespace's pull secrets.
        SecretNames = "secret_names",
        /// A ServiceAccount.
        ServiceAccount = "serviceaccount",
        /// A SubjectAccessReview.
        AccessReview = "subjectaccessreview",
        /// A `TokenReview`.
        TokenReview = "tokenreview",
        /// The Service and EndpointSlices behind an in-cluster registry.
        Service = "service",
        /// A few pods, for what is wrong with them.
        Pod = "pod",
        /// An Event that is written about a workload.
        Event = "event",
        /// Mutating webhooks and policies of others.
        Rewriters = "mutatingwebhookconfiguration",
        /// A `RuntimeClass`.
        RuntimeClass = "runtimeclass",
    }
}

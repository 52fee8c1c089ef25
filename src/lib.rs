//! Pullgate says, before anything is rolled out, whether the nodes of a cluster will be able to
//! pull the images it names, why not, and what to use instead.

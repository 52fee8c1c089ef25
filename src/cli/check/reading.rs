//! Everything that was named, read: manifests, lists of images, and what could not be read of them.

use std::io;
use std::sync::Arc;

use anyhow::bail;

use super::SubjectFlags;
use super::input::{self, Input, Unrendered};
use super::manifest::{Manifests, Reader};
use super::render::{self, Rendered};
use crate::cli::print_message;
use crate::policy::PullgatePolicy;
use crate::text::{clean, count};
use crate::yaml::{InputError, Position, documents};

/// Errors that are told one by one; the rest is counted.
const MAX_TOLD: usize = 20;
/// Directories to be rendered that are named with their commands; the rest is counted.
const MAX_NAMED: usize = 5;

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) manifests: Manifests,
    /// What could not be read; everything else is judged all the same.
    pub(super) unread: Vec<InputError>,
}

/// What went wrong, before it is told.
#[derive(Default)]
struct Faults {
    errors: Vec<InputError>,
    /// Files that are templates, each with the command that renders it.
    templates: Vec<(Arc<str>, String)>,
}

/// Reads every file, and tells what cannot be read and what was passed over.
pub(super) fn read(
    flags: &SubjectFlags,
    policy: &PullgatePolicy,
    namespace: &str,
) -> anyhow::Result<Reading> {
    let named = flags.filename.iter().chain(&flags.images_from);
    if named.filter(|path| path.as_os_str() == "-").count() > 1 {
        bail!("stdin: standard input can be read only once");
    }
    let extra_kinds: Vec<_> = policy
        .extra_kinds()
        .map(|kind| (kind.group.into(), kind.kind.into(), kind.place))
        .collect();
    let reader = Reader { namespace, extra_kinds: &extra_kinds };
    let inputs = input::inputs(&flags.filename);
    let mut manifests = Manifests::default();
    let mut faults = Faults { errors: inputs.faults, ..Faults::default() };
    if !flags.render {
        faults.errors.extend(inputs.waiting);
    }
    for input in &inputs.files {
        file(&reader, &mut manifests, &mut faults, input);
    }
    for path in &flags.images_from {
        let input = Input::named(path);
        let read = input.read(&mut io::stdin().lock());
        let listed = read.and_then(|bytes| input::listed(flags, namespace, &input.name(), &bytes));
        match listed {
            Ok(listed) => manifests.workloads.extend(listed),
            Err(error) => faults.errors.push(error),
        }
    }
    if flags.render {
        for one in render::all(&inputs.unrendered) {
            rendered(&reader, &mut manifests, &mut faults, one);
        }
    } else {
        passed_over(&inputs.unrendered);
    }
    if manifests.passed_over > 0 {
        print_message(format_args!(
            "passed over {} without an object of Kubernetes",
            count(manifests.passed_over, "document")
        ));
    }
    Ok(Reading { manifests, unread: faults.log() })
}

/// Reads one file. One with templates in it is told as a whole.
fn file(reader: &Reader<'_>, manifests: &mut Manifests, faults: &mut Faults, input: &Input) {
    let name: Arc<str> = input.name().into();
    let lenient = matches!(input, Input::Found(_));
    let bytes = match input.read(&mut io::stdin().lock()) {
        Ok(bytes) => bytes,
        Err(error) => return faults.errors.push(error),
    };
    let mut errors = Vec::new();
    let before = manifests.templates;
    let mut is_template = false;
    documents(&name, &bytes, &mut |document| match document {
        Ok(tree) => errors.extend(reader.add(manifests, &name, &tree, lenient).err()),
        Err(unreadable) => {
            is_template |= unreadable.is_template;
            errors.push(unreadable.error);
        }
    });
    if is_template || manifests.templates > before {
        let chart = input.path().and_then(input::chart_of);
        faults.templates.push((name, input::render_chart(chart)));
    } else {
        faults.errors.extend(errors);
    }
}

/// Reads what a program has rendered. Its lines are those of no file, so none is told.
fn rendered(
    reader: &Reader<'_>,
    manifests: &mut Manifests,
    faults: &mut Faults,
    Rendered { file, output }: Rendered,
) {
    let bytes = match output {
        Ok(bytes) => bytes,
        Err(error) => return faults.errors.push(error),
    };
    let name: Arc<str> = file.into();
    let before = manifests.workloads.len();
    documents(&name, &bytes, &mut |document| {
        let read = document.map_err(|unreadable| unreadable.error);
        let read = read.and_then(|tree| reader.add(manifests, &name, &tree, true));
        let fault = read.err().map(|error| {
            let problem =
                format!("of what was rendered, line {}: {}", error.at.line, error.problem);
            InputError::new(&name, Position::UNKNOWN, problem)
        });
        faults.errors.extend(fault);
    });
    for found in manifests.workloads.iter_mut().skip(before) {
        found.places.fill(Position::UNKNOWN);
    }
}

impl Faults {
    /// Tells everything once, and gives it back for the reports.
    fn log(self) -> Vec<InputError> {
        let mut unread = self.errors;
        for error in unread.iter().take(MAX_TOLD) {
            print_message(error);
        }
        if unread.len() > MAX_TOLD {
            print_message(format_args!("and {} more that cannot be read", unread.len() - MAX_TOLD));
        }
        if let Some((first, command)) = self.templates.first() {
            let first = clean(first);
            match self.templates.len() - 1 {
                0 => {
                    print_message(format_args!(
                        "{first} is a template; render it first: {command}"
                    ));
                }
                more => print_message(format_args!(
                    "{first} and {more} more files are templates; render them first: {command}"
                )),
            }
        }
        unread.extend(self.templates.iter().map(|(file, command)| {
            let problem = format!("this is a template; render it first: {command}");
            InputError::new(file, Position::UNKNOWN, problem)
        }));
        unread
    }
}

fn passed_over(unrendered: &[Unrendered]) {
    for one in unrendered.iter().take(MAX_NAMED) {
        print_message(format_args!(
            "passed over {}; to check it: {}",
            one.message(),
            one.command()
        ));
    }
    if unrendered.len() > MAX_NAMED {
        let more = unrendered.len() - MAX_NAMED;
        print_message(format_args!("passed over {more} more charts and kustomizations"));
    }
}

//! A page of metrics in `OpenMetrics` as one request of OTLP.

use std::collections::BTreeMap;
use std::time::SystemTime;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint,
    ResourceMetrics, ScopeMetrics, Sum,
};
use opentelemetry_proto::tonic::resource::v1::Resource;

/// The families of a page, since `started`, as they stand now.
pub(super) fn request(
    page: &str,
    resource: &[(&'static str, String)],
    started: SystemTime,
    now: SystemTime,
) -> ExportMetricsServiceRequest {
    let times = Times { started: nanoseconds(started), now: nanoseconds(now) };
    let mut families: Vec<MetricFamily> = Vec::new();
    for line in page.lines() {
        match line.split_once(' ') {
            Some(("#", rest)) => {
                let mut words = rest.splitn(3, ' ');
                let (what, name, text) = (words.next(), words.next(), words.next());
                let (Some(what), Some(name)) = (what, name) else { continue };
                if families.last().is_none_or(|family| family.name != name) {
                    families
                        .push(MetricFamily { name: name.to_owned(), ..MetricFamily::default() });
                }
                let Some(family) = families.last_mut() else { continue };
                match (what, text) {
                    ("TYPE", Some(kind)) => kind.clone_into(&mut family.kind),
                    ("HELP", Some(help)) => help.clone_into(&mut family.help),
                    _ => {}
                }
            }
            _ => {
                if let (Some(family), Some(sample)) = (families.last_mut(), Sample::parse(line)) {
                    family.samples.push(sample);
                }
            }
        }
    }
    let metrics = families.iter().filter_map(|family| family.metric(times)).collect();
    let attributes = resource.iter().map(|(name, value)| attribute(name, value)).collect();
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(Resource { attributes, ..Resource::default() }),
            scope_metrics: vec![ScopeMetrics {
                scope: Some(InstrumentationScope {
                    name: "pullgate".to_owned(),
                    ..InstrumentationScope::default()
                }),
                metrics,
                ..ScopeMetrics::default()
            }],
            ..ResourceMetrics::default()
        }],
    }
}

#[derive(Clone, Copy)]
struct Times {
    started: u64,
    now: u64,
}

fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn attribute(name: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(Value::StringValue(value.to_owned())) };
    KeyValue { key: name.to_owned(), value: Some(value), ..KeyValue::default() }
}

type Labels = BTreeMap<String, String>;

/// One line.
struct Sample {
    name: String,
    labels: Labels,
    value: f64,
}

impl Sample {
    /// `name{label="value",…} number`, as our own page has it.
    fn parse(line: &str) -> Option<Self> {
        let (head, value) = line.rsplit_once(' ')?;
        let (name, labels) = match head.split_once('{') {
            Some((name, labels)) => (name, labels.strip_suffix('}')?),
            None => (head, ""),
        };
        let mut found = Labels::new();
        let mut rest = labels;
        while let Some((label, behind)) = rest.split_once("=\"") {
            let (mut text, mut escaped, mut end) = (String::new(), false, None);
            for (at, c) in behind.char_indices() {
                match (escaped, c) {
                    (true, 'n') => text.push('\n'),
                    (false, '\\') => {
                        escaped = true;
                        continue;
                    }
                    (false, '"') => {
                        end = Some(at + 1);
                        break;
                    }
                    (_, c) => text.push(c),
                }
                escaped = false;
            }
            found.insert(label.trim_start_matches(',').to_owned(), text);
            rest = &behind[end?..];
        }
        Some(Self { name: name.to_owned(), labels: found, value: value.parse().ok()? })
    }
}

/// A family of the page.
#[derive(Default)]
struct MetricFamily {
    name: String,
    kind: String,
    help: String,
    samples: Vec<Sample>,
}

impl MetricFamily {
    fn metric(&self, times: Times) -> Option<Metric> {
        let temporality = AggregationTemporality::Cumulative.into();
        let data = match self.kind.as_str() {
            "gauge" => Data::Gauge(Gauge { data_points: self.numbers(times) }),
            "counter" => Data::Sum(Sum {
                data_points: self.numbers(times),
                aggregation_temporality: temporality,
                is_monotonic: true,
            }),
            "histogram" => Data::Histogram(Histogram {
                data_points: self.histograms(times),
                aggregation_temporality: temporality,
            }),
            // What the build is stands in the resource.
            _ => return None,
        };
        (!self.samples.is_empty()).then(|| Metric {
            name: self.name.clone(),
            description: self.help.clone(),
            data: Some(data),
            ..Metric::default()
        })
    }

    fn numbers(&self, times: Times) -> Vec<NumberDataPoint> {
        let samples = self.samples.iter().filter(|sample| !sample.name.ends_with("_created"));
        samples
            .map(|sample| NumberDataPoint {
                attributes: attributes(&sample.labels),
                start_time_unix_nano: times.started,
                time_unix_nano: times.now,
                value: Some(Number::AsDouble(sample.value)),
                ..NumberDataPoint::default()
            })
            .collect()
    }

    fn histograms(&self, times: Times) -> Vec<HistogramDataPoint> {
        let mut points: BTreeMap<Labels, HistogramDataPoint> = BTreeMap::new();
        let mut below: BTreeMap<Labels, f64> = BTreeMap::new();
        for sample in &self.samples {
            let mut labels = sample.labels.clone();
            let bound = labels.remove("le");
            let point = points.entry(labels.clone()).or_insert_with(|| HistogramDataPoint {
                attributes: attributes(&labels),
                start_time_unix_nano: times.started,
                time_unix_nano: times.now,
                ..HistogramDataPoint::default()
            });
            if let Some(bound) = bound {
                // Those of the page count everything up to a bound, those of OTLP what is between.
                let before = below.insert(labels, sample.value).unwrap_or_default();
                point.bucket_counts.push(whole(sample.value - before));
                point.explicit_bounds.extend(bound.parse::<f64>().ok().filter(|b| b.is_finite()));
            } else if sample.name.ends_with("_sum") {
                point.sum = Some(sample.value);
            } else if sample.name.ends_with("_count") {
                point.count = whole(sample.value);
            }
        }
        points.into_values().collect()
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts of a page are whole numbers that begin at zero"
)]
fn whole(count: f64) -> u64 {
    count.max(0.0).round() as u64
}

fn attributes(labels: &Labels) -> Vec<KeyValue> {
    labels.iter().map(|(name, value)| attribute(name, value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "\
# HELP pullgate_reviews Reviews answered.
# TYPE pullgate_reviews counter
pullgate_reviews_total{endpoint=\"validate\",decision=\"a \\\"b\\\", c}\"} 3
# HELP pullgate_ready Whether it is.
# TYPE pullgate_ready gauge
pullgate_ready 1
# HELP pullgate_empty Nothing.
# TYPE pullgate_empty counter
# HELP pullgate_time Seconds.
# TYPE pullgate_time histogram
pullgate_time_sum{e=\"v\"} 2.5
pullgate_time_count{e=\"v\"} 5
pullgate_time_bucket{le=\"0.1\",e=\"v\"} 2
pullgate_time_bucket{le=\"1.0\",e=\"v\"} 4
pullgate_time_bucket{le=\"+Inf\",e=\"v\"} 5
# TYPE pullgate_build info
pullgate_build_info{version=\"1\"} 1
# EOF
";

    #[test]
    fn a_page_is_told_whole() {
        let started = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1);
        let now = started + std::time::Duration::from_secs(1);
        let mut request = request(PAGE, &[("service.name", "pullgate".to_owned())], started, now);
        let metrics = request.resource_metrics.remove(0).scope_metrics.remove(0).metrics;
        let names: Vec<_> = metrics.iter().map(|metric| metric.name.as_str()).collect();
        assert_eq!(names, ["pullgate_reviews", "pullgate_ready", "pullgate_time"]);
        let Some(Data::Sum(sum)) = &metrics[0].data else { panic!("{:?}", metrics[0]) };
        let point = &sum.data_points[0];
        assert!(sum.is_monotonic && point.value == Some(Number::AsDouble(3.0)));
        assert_eq!(point.attributes[0], attribute("decision", "a \"b\", c}"));
        assert_eq!(
            (point.start_time_unix_nano, point.time_unix_nano),
            (1_000_000_000, 2_000_000_000)
        );
        let Some(Data::Histogram(times)) = &metrics[2].data else { panic!("{:?}", metrics[2]) };
        let point = &times.data_points[0];
        assert_eq!((point.count, point.sum), (5, Some(2.5)));
        assert_eq!(point.explicit_bounds, [0.1, 1.0]);
        assert_eq!(point.bucket_counts, [2, 2, 1]);
    }
}

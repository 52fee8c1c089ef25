//! Watches what has no pods now and will pull images some day.

use super::shared_index::SharedIndex;
use super::templates::{Template, TemplateKind};
use super::watch::{Feed, Source};
use jiff::Timestamp;

/// Takes in what is watched for its template alone.
pub(super) struct TemplateFeed(pub(super) SharedIndex, pub(super) TemplateKind);

impl Feed for TemplateFeed {
    fn source(&self) -> Source {
        let path = match self.1 {
            TemplateKind::StatefulSet => "/apis/apps/v1/statefulsets",
            TemplateKind::DaemonSet => "/apis/apps/v1/daemonsets",
            TemplateKind::Deployment => "/apis/apps/v1/deployments",
            // These are watched for what they build, too.
            TemplateKind::CronJob => "/apis/batch/v1/cronjobs",
            TemplateKind::Job => "/apis/batch/v1/jobs",
        };
        Source { path, metadata_only: false, fields: None }
    }

    fn list_begins(&mut self) {
        self.0.lock().templates.begin(self.1);
    }

    fn list_ends(&mut self, _: Timestamp) {
        self.0.lock().templates.end(self.1);
    }

    fn applied(&mut self, object: &str) -> Result<(), serde_json::Error> {
        if let Some(template) = Template::read(self.1, object) {
            self.0.lock().templates.apply(template);
        }
        Ok(())
    }

    fn deleted(&mut self, object: &str) -> Result<(), serde_json::Error> {
        if let Some(template) = Template::read(self.1, object) {
            self.0.lock().templates.delete(&template);
        }
        Ok(())
    }
}

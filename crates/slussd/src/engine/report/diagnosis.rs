//! What the engine adds to a diagnosis: everything that it knows without asking.

use sluss_ipc as ipc;
use sluss_ipc::doctor::{Diagnosis, LinkFacts};
use sluss_supervisor as sup;

use super::{Figures, place, policy};
use crate::doctor::{Facts, Observed, diagnose};
use crate::engine::Engine;

impl Engine {
    /// What [`crate::doctor::observe`] has found out, judged together with how things are now.
    pub fn diagnosis(
        &self,
        observed: &Observed,
        enrolled: bool,
        figures: Figures,
        now: sup::Time,
    ) -> Diagnosis {
        let mut status = self.status(figures, now);
        status.evidence = observed
            .evidence
            .iter()
            .map(|evidence| self.evidence(evidence, now))
            .collect();
        let links: Vec<LinkFacts> = self.state.links.iter().map(link_facts).collect();
        Diagnosis {
            schema: ipc::SCHEMA,
            findings: diagnose(&Facts {
                status: &status,
                links: &links,
                policy: &self.policy,
                observed,
                proved: self.is_proof(&observed.evidence),
                enrolled,
            }),
            support: policy::support(&self.policy),
            version: status.version,
        }
    }

    fn is_proof(&self, evidence: &[sup::Evidence]) -> bool {
        let links = self.state.links.iter().map(|link| &link.id);
        links.into_iter().any(|link| {
            let here = evidence.iter().filter(|it| it.link == *link);
            sup::suffices(&self.policy, &here.cloned().collect::<Vec<_>>())
        })
    }
}

fn link_facts(link: &sup::Link) -> LinkFacts {
    LinkFacts {
        link: place::link(link),
        carrier: link.carrier,
        has_router: !link.gateways.is_empty(),
    }
}

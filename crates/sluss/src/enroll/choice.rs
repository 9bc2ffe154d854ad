//! Which card and key to take, and what would be lost: decided from what the daemon saw and what the command line says.

use sluss_ipc::{
    Algorithm, KeyMode,
    enroll::{Candidate, CandidateKey, FoundKey, KeyFault, OtherCard, Survey},
};

/// What the command line says.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wishes<'a> {
    pub(crate) card: Option<&'a str>,
    pub(crate) key: Option<&'a str>,
    pub(crate) make: bool,
    /// The present binding may be lost.
    pub(crate) replace: bool,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan<'s> {
    pub(crate) card: &'s Candidate,
    pub(crate) key: &'s CandidateKey,
    pub(crate) mode: KeyMode,
    pub(crate) algorithm: Algorithm,
    /// To be made first.
    pub(crate) make: bool,
    /// What would be lost.
    pub(crate) losses: Vec<Loss<'s>>,
}

/// What would be lost, with the serial number of the card in question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss<'s> {
    /// The key on the card.
    Key(&'s str),
    /// The laptop's binding to a card, or to a key that is sealed to it.
    Binding(&'s str),
}

/// Why there is nothing to be done without another word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Undecided<'s> {
    /// No reader holds a card with an application of ours; what they hold instead.
    NoCard(&'s [OtherCard]),
    /// None is as the command line says.
    NoSuchCard,
    NoSuchKey,
    /// Their serial numbers.
    SeveralCards(Vec<&'s str>),
    /// There is no key yet, but there could be: with this plan.
    CouldMake(Box<Plan<'s>>),
    /// No key will do: their names, and why.
    Unfit(Vec<(&'s str, KeyFault)>),
    /// Nothing can be made, where something was to be made.
    CannotMake,
}

impl<'s> Loss<'s> {
    pub(crate) fn serial(self) -> &'s str {
        match self {
            Self::Key(serial) | Self::Binding(serial) => serial,
        }
    }
}

/// Chooses: the key that the laptop is bound to already, else one in the card, else one that a key can be sealed to.
pub(crate) fn choose<'s>(
    survey: &'s Survey,
    wishes: Wishes<'_>,
) -> Result<Plan<'s>, Undecided<'s>> {
    if survey.cards.is_empty() {
        return Err(Undecided::NoCard(&survey.others));
    }
    let cards: Vec<&Candidate> = survey
        .cards
        .iter()
        .filter(|card| wishes.card.is_none_or(|wish| wish == card.serial))
        .collect();
    if cards.is_empty() {
        return Err(Undecided::NoSuchCard);
    }
    let places: Vec<(&Candidate, &CandidateKey)> = cards
        .iter()
        .flat_map(|card| card.keys.iter().map(move |key| (*card, key)))
        .filter(|(_, key)| wishes.key.is_none_or(|wish| wish == key.id))
        .collect();
    if places.is_empty() {
        return Err(Undecided::NoSuchKey);
    }
    let making = || {
        places
            .iter()
            .filter_map(|(card, key)| made(survey, card, key))
            .collect::<Vec<_>>()
    };
    if wishes.make {
        return best(making())?.ok_or(Undecided::CannotMake);
    }
    let taking = places
        .iter()
        .filter_map(|(card, key)| taken(survey, wishes, card, key))
        .collect();
    if let Some(plan) = best(taking)? {
        return Ok(plan);
    }
    // only where nothing would be lost on the card: who wants that, says so
    let mut in_empty_places = making();
    in_empty_places.retain(|plan| plan.key.found == FoundKey::Empty);
    if let Some(plan) = best(in_empty_places)? {
        return Err(Undecided::CouldMake(Box::new(plan)));
    }
    let faults = places.iter().filter_map(|(_, key)| match &key.found {
        FoundKey::Unfit { fault } => Some((key.id.as_str(), *fault)),
        FoundKey::Empty | FoundKey::Fit { .. } => None,
    });
    Err(Undecided::Unfit(faults.collect()))
}

/// The plan to take the key that is there.
fn taken<'s>(
    survey: &'s Survey,
    wishes: Wishes<'_>,
    card: &'s Candidate,
    key: &'s CandidateKey,
) -> Option<Plan<'s>> {
    let FoundKey::Fit {
        mode, algorithm, ..
    } = key.found
    else {
        return None;
    };
    // a held key is what it is; a sealed one is made anew where it may be
    let kept = is_bound(survey, card, key) && !(wishes.replace && mode == KeyMode::Sealed);
    Some(Plan {
        card,
        key,
        mode,
        algorithm,
        make: false,
        losses: if kept { Vec::new() } else { binding(survey) },
    })
}

/// The plan to make one there.
fn made<'s>(survey: &'s Survey, card: &'s Candidate, key: &'s CandidateKey) -> Option<Plan<'s>> {
    let algorithm = *key.makes.first()?;
    let overwritten = (key.found != FoundKey::Empty).then_some(Loss::Key(&card.serial));
    Some(Plan {
        card,
        key,
        mode: match algorithm {
            Algorithm::X25519 => KeyMode::Held,
            Algorithm::P256
            | Algorithm::P384
            | Algorithm::Rsa2048
            | Algorithm::Rsa3072
            | Algorithm::Rsa4096 => KeyMode::Sealed,
        },
        algorithm,
        make: true,
        losses: overwritten.into_iter().chain(binding(survey)).collect(),
    })
}

fn binding(survey: &Survey) -> Vec<Loss<'_>> {
    let bound = survey.bound.as_ref();
    bound
        .map(|bound| Loss::Binding(&bound.serial))
        .into_iter()
        .collect()
}

fn is_bound(survey: &Survey, card: &Candidate, key: &CandidateKey) -> bool {
    survey
        .bound
        .as_ref()
        .is_some_and(|bound| bound.serial == card.serial && bound.key == key.id)
}

/// The one that costs least, then the one that is held; between equals in different readers a person has to choose.
fn best(mut plans: Vec<Plan<'_>>) -> Result<Option<Plan<'_>>, Undecided<'_>> {
    let rank = |plan: &Plan<'_>| (plan.losses.len(), plan.mode == KeyMode::Sealed);
    plans.sort_by_key(rank);
    let Some(first) = plans.first() else {
        return Ok(None);
    };
    let equals = plans
        .iter()
        .take_while(|plan| plan.losses.len() == first.losses.len());
    let mut serials = Vec::new();
    for plan in equals {
        if plan.card.reader != first.card.reader && !serials.contains(&plan.card.serial.as_str()) {
            serials.push(&plan.card.serial);
        }
    }
    if serials.is_empty() {
        return Ok(Some(plans.swap_remove(0)));
    }
    serials.insert(0, &first.card.serial);
    Err(Undecided::SeveralCards(serials))
}

#[cfg(test)]
mod tests;

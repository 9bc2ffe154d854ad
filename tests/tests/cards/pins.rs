//! PINs: what spends a try, how long one lasts, and what the card is told after each use.

use anyhow::{Context, Result, ensure};
use sluss_card::Error;

use crate::person::inserted;

pub(crate) fn tries_are_asked_for_without_spending_one() -> Result<()> {
    let (_rig, mut card, mut user) = inserted()?;
    let info = user.inserted()?;
    ensure!((info.tries_left, info.ready) == (3, false));
    for _ in 0..5 {
        let again = user.refresh()?;
        ensure!(again.as_ref() == Ok(&info), "{again:?}");
    }
    ensure!(
        user.verify(&info.serial, "12345", false)? == Err(Error::PinLength { min: 6, max: 127 })
    );
    ensure!(
        user.verify("FFFE:00000000", "123456", false)? == Err(Error::Gone),
        "a PIN for another card"
    );
    ensure!(card.stats()?.verify == 0, "a try was spent");
    Ok(())
}

pub(crate) fn wrong_pins_count_down_to_the_last_try() -> Result<()> {
    let (_rig, mut card, mut user) = inserted()?;
    let serial = user.inserted()?.serial;
    ensure!(user.verify(&serial, "111111", false)? == Err(Error::WrongPin { left: 2 }));
    ensure!(user.verify(&serial, "111111", false)? == Err(Error::WrongPin { left: 1 }));
    ensure!(user.verify(&serial, "123456", false)? == Err(Error::OneTryLeft));
    ensure!(
        card.stats()?.verify == 2,
        "the last try went without consent"
    );
    ensure!(user.verify(&serial, "123456", true)? == Ok(()));
    ensure!(user.refresh()?.map(|info| (info.tries_left, info.ready)) == Ok((3, true)));

    for _ in 0..3 {
        user.verify(&serial, "111111", true)?
            .err()
            .context("a wrong PIN was taken")?;
    }
    ensure!(user.verify(&serial, "123456", true)? == Err(Error::Blocked));
    ensure!(user.refresh()?.map(|info| info.tries_left) == Ok(0));
    ensure!(card.stats()?.verify == 6, "a blocked card was tried");
    Ok(())
}

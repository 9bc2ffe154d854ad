//! The card's applet from power-on to power-off, over storage that outlives it.

use std::cell::RefCell;
use std::rc::Rc;

use iso7816::command::CommandView;
use iso7816::{Command, Instruction, Status};
use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;
use trussed::pipe::{ServiceEndpoint, TrussedChannel};
use trussed::service::Service;
use trussed::types::CoreContext;
use trussed::virt::{StorageConfig, Store, StoreConfig, UserInterface};
use trussed::{ClientImplementation, Platform, platform};

use crate::dispatch::{BACKENDS, Backend, Contexts, Dispatch};

/// FSFE's RID and the OpenPGP application, as a SELECT names it.
const OPENPGP: &[u8] = &[0xD2, 0x76, 0x00, 0x01, 0x24, 0x01];
/// The PIV application, as a SELECT may cut it off.
const PIV: &[u8] = &[0xA0, 0x00, 0x00, 0x03, 0x08];
/// Its identifier at full length, the only one that its applet knows.
const WHOLE_PIV: [u8; 11] = [
    0xA0, 0x00, 0x00, 0x03, 0x08, 0x00, 0x00, 0x10, 0x00, 0x01, 0x00,
];
/// An application that every card has beside its own, for other programs to select: FIDO's.
const OTHER: &[u8] = &[0xA0, 0x00, 0x00, 0x06, 0x47, 0x2F, 0x00, 0x01];
/// Longest command and answer that the applet deals with.
const LONGEST: usize = 7609;

/// What keeps its content when the power goes.
pub struct Memory(StoreConfig<'static>);

/// Which application the card has.
#[derive(Clone, Copy)]
pub enum Kind {
    OpenPgp,
    Piv,
}

/// The applet while the card has power. A reset makes a new one.
pub struct Applet<'a> {
    application: &'static [u8],
    card: Box<dyn Application + 'a>,
    selected: bool,
    chain: Option<Command<LONGEST>>,
    answer: heapless::Vec<u8, LONGEST>,
    sent: usize,
}

impl Memory {
    pub fn new() -> Self {
        Self(StoreConfig::ram())
    }

    /// Gives the card power for as long as `work` takes.
    pub fn power_on<T>(
        &mut self,
        kind: Kind,
        serial: [u8; 4],
        work: impl FnOnce(Applet<'_>) -> T,
    ) -> T {
        self.0.volatile = StorageConfig::ram();
        let result = self.0.with_store(|store| {
            let channel = TrussedChannel::new();
            let (requester, responder) = channel.split().expect("a new channel splits");
            let context = CoreContext::new("card".try_into().expect("a valid path"));
            // trussed's own virtual platform seeds with a constant: all cards would have the same keys
            let board = Board {
                rng: ChaCha8Rng::from_entropy(),
                store,
                ui: UserInterface::new(),
            };
            let service = Rc::new(RefCell::new(Kernel {
                service: Service::with_dispatch(board, Dispatch::new()),
                endpoints: [ServiceEndpoint::new(responder, context, BACKENDS)],
            }));
            let client = Client::new(requester, Syscall(service), None);
            let (application, card) = kind.applet(client, serial);
            work(Applet {
                application,
                card,
                selected: false,
                chain: None,
                answer: heapless::Vec::new(),
                sent: 0,
            })
        });
        self.0.internal.format = false;
        self.0.external.format = false;
        result
    }
}

impl Kind {
    fn applet<'a>(
        self,
        client: Client<'a>,
        serial: [u8; 4],
    ) -> (&'static [u8], Box<dyn Application + 'a>) {
        match self {
            Self::OpenPgp => {
                let mut options = opcard::Options::default();
                options.manufacturer = [0xFF, 0xFE]; // the range for serial numbers that nobody assigned
                options.serial = serial;
                (OPENPGP, Box::new(opcard::Card::new(client, options)))
            }
            Self::Piv => {
                let mut uuid = [0; 16];
                uuid[12..].copy_from_slice(&serial);
                let options = piv_authenticator::Options::new().uuid(Some(uuid));
                let card = piv_authenticator::Authenticator::new(client, options);
                (PIV, Box::new(card))
            }
        }
    }
}

/// What the two applets have in common.
trait Application {
    fn handle(
        &mut self,
        command: CommandView<'_>,
        answer: &mut heapless::VecView<u8>,
    ) -> Result<(), Status>;

    /// Forgets what it forgets when another application is selected.
    fn deselect(&mut self);
}

impl<T: opcard::Client> Application for opcard::Card<T> {
    fn handle(
        &mut self,
        command: CommandView<'_>,
        answer: &mut heapless::VecView<u8>,
    ) -> Result<(), Status> {
        opcard::Card::handle(self, command, answer)
    }

    fn deselect(&mut self) {
        self.reset();
    }
}

impl<T: piv_authenticator::Client> Application for piv_authenticator::Authenticator<T> {
    fn handle(
        &mut self,
        command: CommandView<'_>,
        answer: &mut heapless::VecView<u8>,
    ) -> Result<(), Status> {
        match u8::from(command.instruction()) {
            // the applet's serial number is the same on all cards: better none, as on cards that are not Yubico's
            0xF8 => Err(Status::InstructionNotSupportedOrInvalid),
            _ => self.respond(command, answer),
        }
    }

    /// Its own way to do so does nothing.
    fn deselect(&mut self) {
        if let Ok(forget) = Command::<0>::try_from(&[0x00, 0x20, 0xFF, 0x80]) {
            let _ = self.respond(forget.as_view(), &mut heapless::Vec::<u8, 0>::new());
        }
    }
}

impl Applet<'_> {
    /// Forgets what a card forgets without power.
    pub fn reset(&mut self) {
        self.card.deselect();
        self.selected = false;
        self.chain = None;
    }

    /// One APDU, answered with status, as a card does with several applications of which one is selected.
    pub fn exchange(&mut self, apdu: &[u8]) -> Vec<u8> {
        let (mut answer, status) = self.dispatch(apdu);
        answer.extend(<[u8; 2]>::from(status));
        answer
    }

    fn dispatch(&mut self, apdu: &[u8]) -> (Vec<u8>, Status) {
        let Ok(mut command) = Command::<LONGEST>::try_from(apdu) else {
            return (Vec::new(), Status::WrongLength);
        };
        if command.instruction() == Instruction::Select && command.p1 == 0x04 {
            if command.data().starts_with(OTHER) {
                self.reset();
                return (Vec::new(), Status::Success);
            }
            if !command.data().starts_with(self.application) {
                return (Vec::new(), Status::NotFound);
            }
            if self.application == PIV {
                command = select_piv();
            } else if self.selected {
                self.card.deselect(); // selecting it anew deselects it first; not so with PIV (SP 800-73-4 part 2, 3.1.1)
            }
            self.selected = true;
        }
        if !self.selected {
            return (Vec::new(), Status::InstructionNotSupportedOrInvalid);
        }
        self.handle(command)
    }

    /// Command chaining and GET RESPONSE around the applet, which wants whole commands.
    fn handle(&mut self, command: Command<LONGEST>) -> (Vec<u8>, Status) {
        if let Some(chain) = &mut self.chain
            && chain.extend_from_command(&command).is_err()
        {
            self.chain = None;
            return (Vec::new(), Status::WrongLength);
        }
        if !command.class().chain().last_or_only() {
            self.chain.get_or_insert(command);
            return (Vec::new(), Status::Success);
        }
        let command = self.chain.take().unwrap_or(command);
        if command.instruction() != Instruction::GetResponse {
            self.answer.clear();
            self.sent = 0;
            if let Err(status) = self.card.handle(command.as_view(), &mut self.answer) {
                return (Vec::new(), status);
            }
        }
        let expected = if command.expected() == 0 {
            256
        } else {
            command.expected()
        };
        let rest = &self.answer[self.sent..];
        let part = rest[..expected.min(rest.len())].to_vec();
        self.sent += part.len();
        match self.answer.len() - self.sent {
            0 => (part, Status::Success),
            left => (
                part,
                Status::MoreAvailable(u8::try_from(left).unwrap_or(u8::MAX)),
            ),
        }
    }
}

fn select_piv() -> Command<LONGEST> {
    let select = [&[0x00, 0xA4, 0x04, 0x00, 11], &WHOLE_PIV[..], &[0]].concat();
    Command::try_from(select.as_slice()).expect("a sound command")
}

type Client<'a> = ClientImplementation<'a, Syscall<'a>, Dispatch>;

/// trussed's service, run by the very call that asks it: no thread that looks for work every millisecond.
struct Syscall<'a>(Rc<RefCell<Kernel<'a>>>);

struct Kernel<'a> {
    service: Service<Board<'a>, Dispatch>,
    endpoints: [ServiceEndpoint<'a, Backend, Contexts>; 1],
}

impl platform::Syscall for Syscall<'_> {
    fn syscall(&mut self) {
        let Kernel { service, endpoints } = &mut *self.0.borrow_mut();
        service.process(endpoints);
    }
}

struct Board<'a> {
    rng: ChaCha8Rng,
    store: Store<'a>,
    ui: UserInterface,
}

impl<'a> Platform for Board<'a> {
    type R = ChaCha8Rng;
    type S = Store<'a>;
    type UI = UserInterface;

    fn rng(&mut self) -> &mut ChaCha8Rng {
        &mut self.rng
    }

    fn store(&self) -> Store<'a> {
        self.store
    }

    fn user_interface(&mut self) -> &mut UserInterface {
        &mut self.ui
    }
}

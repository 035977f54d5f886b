//! Asking the helper: one connection, one request, one answer.

use synhop_client_core::{ANSWER_OCTETS, Answer, Request};

use crate::state::State;
use crate::sys::{HelperConnection, Socket};

/// The helper's answer; `None` when there is no helper, or it does not answer in a second.
pub(crate) fn ask(state: &State, socket: Socket, request: Request) -> Option<Answer> {
    let connection = HelperConnection::open(&state.helper)?;
    connection.send(&request.emit(), socket)?;
    let mut answer = [0; ANSWER_OCTETS];
    let len = connection.receive(&mut answer)?;
    Answer::parse(answer.get(..len)?).ok()
}

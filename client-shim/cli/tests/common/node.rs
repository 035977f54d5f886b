//! The smallest node: replies to the option, connects to the destination, relays.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use synhop_option::SynOption;
use synhop_sockets::{Attachment, Config, SynEvent};

/// Works as long as the test does.
pub(crate) struct Node {
    flows: Arc<Mutex<Vec<SynEvent>>>,
}

impl Node {
    pub(crate) fn start(address: &str) -> Self {
        let address: SocketAddr = address.parse().expect("an address");
        let attachment = Attachment::new(Config::default()).expect("an attachment");
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        listener.bind(&address.into()).expect("bind");
        attachment.listen(&listener, 128).expect("listen");
        let flows: Arc<Mutex<Vec<SynEvent>>> = Arc::default();
        let node = Self {
            flows: Arc::clone(&flows),
        };
        thread::spawn(move || {
            while let Ok((socket, _)) = listener.accept() {
                let syn = attachment.saved_syn(&socket).expect("a saved SYN");
                if let Some(syn) = syn
                    && let Ok(Some(option)) = syn.option
                {
                    flows.lock().expect("flows").push(syn);
                    let destination = option.destination(0);
                    thread::spawn(move || relay(socket, destination));
                }
            }
        });
        node
    }

    /// The SYNs with an option so far.
    pub(crate) fn flows(&self) -> Vec<SynEvent> {
        self.flows.lock().expect("flows").clone()
    }

    /// So many come, and no more. A program may be done before the node has accepted.
    #[track_caller]
    pub(crate) fn has_flows(&self, count: usize) {
        super::wait_for("the node's flows", || self.flows().len() >= count);
        assert_eq!(self.flows().len(), count);
    }

    /// The options of them.
    pub(crate) fn options(&self) -> Vec<SynOption> {
        let options = self.flows().into_iter().filter_map(|syn| syn.option.ok()?);
        options.collect()
    }
}

fn relay(client: Socket, destination: SocketAddr) {
    let timeout = Duration::from_secs(5);
    let Ok(server) = TcpStream::connect_timeout(&destination, timeout) else {
        // By a reset: SPEC section 6.
        let _ = client.set_linger(Some(Duration::ZERO));
        return;
    };
    let client: TcpStream = client.into();
    let (Ok(from_client), Ok(to_server)) = (client.try_clone(), server.try_clone()) else {
        return;
    };
    let up = thread::spawn(move || copy(from_client, to_server));
    copy(server, client);
    let _ = up.join();
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}

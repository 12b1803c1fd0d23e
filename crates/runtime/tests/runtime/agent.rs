//! The death of the agent and of the shim.

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use crate::{rig::Rig, tests};

tests![];

/// An agent that starts a container and waits to be killed.
pub(crate) fn main(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let dir = PathBuf::from(args.next().unwrap());
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    tokio.block_on(async {
        let rig = Rig::open(&dir).await;
        let sandbox = rig.sandbox().await;
        println!("{sandbox}");
        std::future::pending::<()>().await;
    });
    ExitCode::FAILURE
}

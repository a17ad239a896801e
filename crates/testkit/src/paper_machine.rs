//! A machine that is always the same.

use axle_domain::Timestamp;
use axle_domain::port::{
    DiskFigures, IdentityEnd, IdentityPart, IdentityStanding, Machine, MachineFigures,
    ProcessFigures,
};

/// A machine of fixed figures.
#[derive(Clone, Copy, Debug, Default)]
pub struct PaperMachine;

impl Machine for PaperMachine {
    fn figures(&self) -> MachineFigures {
        let disk = |part: &'static str| DiskFigures {
            part,
            path: format!("/data/{part}"),
            file_system: 1,
            free_bytes: 3 << 30,
            total_bytes: 4 << 30,
        };
        MachineFigures {
            version: "0.1.0".to_owned(),
            system: "Linux 6.1".to_owned(),
            started_at: Timestamp(0),
            state_bytes: 4096,
            disks: ["log", "store", "state"].map(disk).to_vec(),
            process: ProcessFigures {
                memory_bytes: 64 << 20,
                machine_memory_bytes: 4 << 30,
                processors: 2,
                threads: 9,
                open_files: 20,
                open_files_max: 1024,
                ..ProcessFigures::default()
            },
            listeners: vec![("http".to_owned(), "127.0.0.1:8080".to_owned())],
            identity: IdentityStanding {
                ends: vec![IdentityEnd {
                    part: IdentityPart::Listener,
                    name: "device listeners".to_owned(),
                    ends: Timestamp(1_800_000_000_000_000),
                }],
                fault: None,
            },
        }
    }
}

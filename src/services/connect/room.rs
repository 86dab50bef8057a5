//! How many flows a node may wait for at once, and how many of those may be of one tenant.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::error_code::ErrorCode;
use crate::domain::ids::TenantId;
use crate::domain::refusal::Refusal;

/// Each costs a call to its provider every few seconds.
const ALL_MAX: usize = 1_000;
const TENANT_MAX: usize = 100;

#[derive(Default)]
pub(super) struct Room(Mutex<BTreeMap<TenantId, usize>>);

/// One flow's place, until it is dropped.
pub(super) struct Seat {
    room: Arc<Room>,
    tenant: TenantId,
}

impl Room {
    pub(super) fn take(self: &Arc<Self>, tenant: &TenantId) -> Result<Seat, Refusal> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_tenant = taken.get(tenant).copied().unwrap_or_default();
        if of_tenant >= TENANT_MAX || taken.values().sum::<usize>() >= ALL_MAX {
            let detail = "Too many codes wait to be entered at the moment; try again in a few minutes.";
            return Err(Refusal::new(ErrorCode::RateLimited, detail));
        }
        taken.insert(tenant.clone(), of_tenant + 1);
        Ok(Seat { room: self.clone(), tenant: tenant.clone() })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.room.0.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(&self.tenant) {
            Some(count) if *count > 1 => *count -= 1,
            _ => _ = taken.remove(&self.tenant),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(n: u128) -> TenantId {
        TenantId::from_uuid(uuid::Uuid::from_u128(n))
    }

    #[test]
    fn one_tenant_leaves_room_for_others_and_a_place_comes_back() {
        let room = Arc::new(Room::default());
        let mut seats: Vec<Seat> = (0..TENANT_MAX).map(|_| room.take(&tenant(1)).unwrap()).collect();
        assert!(room.take(&tenant(1)).is_err() && room.take(&tenant(2)).is_ok());
        seats.pop();
        assert!(room.take(&tenant(1)).is_ok(), "the place of one that ended");
        let of_others = (2..).flat_map(|n| (0..TENANT_MAX).map(move |_| n)).map(|n| room.take(&tenant(n)));
        let all: Vec<Seat> = of_others.map_while(Result::ok).collect();
        assert_eq!(seats.len() + all.len(), ALL_MAX);
        drop((seats, all));
        assert!(room.0.lock().unwrap().is_empty());
    }
}

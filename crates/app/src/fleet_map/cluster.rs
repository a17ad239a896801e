//! Many vehicles as few points: a grid of the projection's cells, whose heaps then take in their
//! near neighbors, so that no two of them lie over each other on the screen.

use axle_domain::limit;

use super::area::Area;
use super::place::Spot;

/// Side of a cell on the screen is `512 / 2^CELL_BITS` pixels.
const CELL_BITS: u32 = 3;
/// Heaps nearer than this part of a cell's side become one.
const MERGE_NEAR: (i64, i64) = (3, 4);

/// Vehicles that are shown as one point.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heap {
    /// One of them.
    pub(super) member: u32,
    pub(super) count: u32,
    pub(super) online: u32,
    pub(super) moving: u32,
    /// Sums of the distances from the north-western corner of the cell.
    sum: (i64, i64),
    least: (i64, i64),
    most: (i64, i64),
}

impl Heap {
    const EMPTY: Self = Self {
        member: 0,
        count: 0,
        online: 0,
        moving: 0,
        sum: (0, 0),
        least: (i64::MAX, i64::MAX),
        most: (i64::MIN, i64::MIN),
    };

    fn middle(&self) -> (i64, i64) {
        let count = i64::from(self.count.max(1));
        (self.sum.0.div_euclid(count), self.sum.1.div_euclid(count))
    }

    /// Takes in another heap whose corner lies `(dx, dy)` from the own.
    fn take(&mut self, other: &Self, (dx, dy): (i64, i64)) {
        let count = i64::from(other.count);
        self.count += other.count;
        self.online += other.online;
        self.moving += other.moving;
        self.sum = (self.sum.0 + other.sum.0 + dx * count, self.sum.1 + other.sum.1 + dy * count);
        self.least = (self.least.0.min(other.least.0 + dx), self.least.1.min(other.least.1 + dy));
        self.most = (self.most.0.max(other.most.0 + dx), self.most.1.max(other.most.1 + dy));
    }
}

/// A heap in the world.
pub(super) struct Placed {
    pub(super) heap: Heap,
    pub(super) middle: Spot,
    pub(super) north_west: Spot,
    pub(super) south_east: Spot,
}

/// The cells of an area.
pub(super) struct Grid {
    shift: u32,
    first: (u32, u32),
    columns: usize,
    rows: usize,
    cells: Vec<Heap>,
}

impl Grid {
    /// Cells of the size that suits the zoom; larger ones where an area has too many of them.
    pub(super) fn new(area: &Area) -> Self {
        let mut shift = 32 - CELL_BITS - u32::from(area.zoom).min(32 - CELL_BITS);
        loop {
            let Spot { x, y } = area.north_west;
            let first = (x >> shift, y >> shift);
            let across = 1_usize << (32 - shift);
            let (width, height) = (area.width as usize, area.height as usize);
            let columns = ((width >> shift) + 2).min(across);
            let rows = ((height >> shift) + 2).min(across);
            if columns * rows <= limit::MAP_CELLS_MAX || shift == 32 - CELL_BITS {
                let cells = vec![Heap::EMPTY; columns * rows];
                return Self { shift, first, columns, rows, cells };
            }
            shift += 1;
        }
    }

    fn across(&self) -> u32 {
        // The mask of a column's number: cells go around the world.
        u32::MAX >> self.shift
    }

    /// Adds a vehicle that lies in the area.
    pub(super) fn add(&mut self, number: u32, spot: Spot, is_online: bool, is_moving: bool) {
        let column = (spot.x >> self.shift).wrapping_sub(self.first.0) & self.across();
        let row = (spot.y >> self.shift).saturating_sub(self.first.1);
        let Some(cell) = self.cells.get_mut(row as usize * self.columns + column as usize) else {
            return;
        };
        let mask = (1_u32 << self.shift) - 1;
        let inside = (i64::from(spot.x & mask), i64::from(spot.y & mask));
        // The least of the numbers, so that the order of vehicles does not matter.
        cell.member = if cell.count == 0 { number } else { cell.member.min(number) };
        cell.count += 1;
        cell.online += u32::from(is_online);
        cell.moving += u32::from(is_moving);
        cell.sum = (cell.sum.0 + inside.0, cell.sum.1 + inside.1);
        cell.least = (cell.least.0.min(inside.0), cell.least.1.min(inside.1));
        cell.most = (cell.most.0.max(inside.0), cell.most.1.max(inside.1));
    }

    /// The heaps, the largest first.
    pub(super) fn finish(mut self) -> Vec<Placed> {
        let full = self.cells.iter().enumerate().filter(|(_, heap)| heap.count > 0);
        let mut order: Vec<(u32, usize)> = full.map(|(cell, heap)| (heap.count, cell)).collect();
        order.sort_unstable_by_key(|(count, cell)| (std::cmp::Reverse(*count), *cell));
        let mut placed = Vec::with_capacity(order.len());
        for (_, cell) in order {
            let Some(mut heap) = self.take(cell) else { continue };
            let (column, row) = (cell % self.columns, cell / self.columns);
            self.merge(&mut heap, column, row);
            placed.push(self.place(heap, column, row));
        }
        placed
    }

    fn take(&mut self, cell: usize) -> Option<Heap> {
        let heap = std::mem::replace(self.cells.get_mut(cell)?, Heap::EMPTY);
        (heap.count > 0).then_some(heap)
    }

    /// Takes in what lies near in the cells around.
    fn merge(&mut self, heap: &mut Heap, column: usize, row: usize) {
        let side = 1_i64 << self.shift;
        let near = side * MERGE_NEAR.0 / MERGE_NEAR.1;
        let middle = heap.middle();
        for (right, down) in AROUND {
            let Some(cell) = self.neighbor(column, row, (right, down)) else { continue };
            let Some(other) = self.cells.get(cell).filter(|other| other.count > 0) else {
                continue;
            };
            let corner = (i64::from(right) * side, i64::from(down) * side);
            let there = other.middle();
            let (dx, dy) = (there.0 + corner.0 - middle.0, there.1 + corner.1 - middle.1);
            if dx.abs() <= near && dy.abs() <= near && dx * dx + dy * dy <= near * near {
                heap.take(other, corner);
                self.take(cell);
            }
        }
    }

    fn neighbor(&self, column: usize, row: usize, (right, down): (i8, i8)) -> Option<usize> {
        let column = column.checked_add_signed(isize::from(right))?;
        let row = row.checked_add_signed(isize::from(down))?;
        (column < self.columns && row < self.rows).then_some(row * self.columns + column)
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the projection wraps around the world, and rows end at its edges"
    )]
    fn place(&self, heap: Heap, column: usize, row: usize) -> Placed {
        let x = self.first.0.wrapping_add(column as u32) << self.shift;
        let y = i64::from(self.first.1.saturating_add(row as u32)) << self.shift;
        let spot = |(dx, dy): (i64, i64)| Spot {
            x: x.wrapping_add(dx as u32),
            y: (y + dy).clamp(0, i64::from(u32::MAX)) as u32,
        };
        let (middle, north_west, south_east) =
            (spot(heap.middle()), spot(heap.least), spot(heap.most));
        Placed { heap, middle, north_west, south_east }
    }
}

const AROUND: [(i8, i8); 8] =
    [(-1, -1), (0, -1), (1, -1), (-1, 0), (1, 0), (-1, 1), (0, 1), (1, 1)];

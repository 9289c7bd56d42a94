//! Which stones decide a move? A policy network for Connect Four on a board of 5×5, trained on the game's exact solution.
//!
//! ```sh
//! cargo run --release --example game [cpu|gpu] [FOLDER]
//! ```
//!
//! White is to move. An empty cell is 0 to the network and has no relevance: what decides are the stones that lie on the board,
//! those in a line of three and those that carry the cell where the fourth belongs. That is put to the test: when the most
//! relevant stone changes its colour, the network no longer wants the move.

mod common;

use anyhow::ensure;
use common::{Panel, best, data, explain, share, sheet, softmax, strongest};
use image::{Rgb, RgbImage};
use relprop::heatmap::ColorMap;
use relprop::{Composite, Network, Target, Tensor};

const SIDE: usize = 5;
/// Pixels of a cell in the picture.
const CELL: u32 = 44;

type Board = [[char; SIDE]; SIDE];

/// A position with white (`w`) to move against black (`b`).
struct Position {
    name: &'static str,
    rows: [&'static str; SIDE],
    /// Row and column of the cell that decides the game.
    cell: [usize; 2],
    /// The three stones in line with it.
    line: [[usize; 2]; 3],
}

const POSITIONS: [Position; 3] = [
    Position {
        name: "white completes a row",
        rows: [".....", ".....", ".....", "bb...", "www.b"],
        cell: [4, 3],
        line: [[4, 0], [4, 1], [4, 2]],
    },
    Position {
        name: "white stops a column",
        rows: [".....", ".....", "b....", "b..w.", "bw.w."],
        cell: [1, 0],
        line: [[2, 0], [3, 0], [4, 0]],
    },
    Position {
        name: "white completes a diagonal",
        rows: [".....", ".....", "..wb.", ".wwb.", "wbbwb"],
        cell: [1, 3],
        line: [[4, 0], [3, 1], [2, 2]],
    },
];

fn board(rows: &[&str; SIDE]) -> Board {
    let mut board = [['.'; SIDE]; SIDE];
    for (cells, row) in board.iter_mut().zip(rows) {
        cells.iter_mut().zip(row.chars()).for_each(|(cell, stone)| *cell = stone);
    }
    board
}

/// The network's input: where who is to move has stones, and where the other has.
fn planes(board: &Board) -> relprop::Result<Tensor> {
    let plane = |stone: char| board.iter().flatten().map(move |c| if *c == stone { 1.0 } else { 0.0 });
    Tensor::from_f32([1, 2, SIDE, SIDE], plane('w').chain(plane('b')).collect())
}

/// The board, each cell in the colour of its stone's relevance; a ring marks the cell that decides.
fn picture(board: &Board, stones: &[f64], scale: f64, cell: [usize; 2]) -> RgbImage {
    RgbImage::from_fn(CELL * SIDE as u32, CELL * SIDE as u32, |x, y| {
        let (row, column) = ((y / CELL) as usize, (x / CELL) as usize);
        let middle = |at: u32| f64::from(at % CELL) + 0.5 - f64::from(CELL) / 2.0;
        let (from_edge, distance) = ((x % CELL).min(y % CELL), middle(x).hypot(middle(y)));
        let radius = f64::from(CELL) * 0.3;
        Rgb(match board[row][column] {
            _ if from_edge == 0 => [160; 3],
            '.' if [row, column] == cell && (radius - 3.0..radius).contains(&distance) => [0, 140, 0],
            'w' if distance < radius - 2.0 => [255; 3],
            'w' | 'b' if distance < radius => [0; 3],
            _ => ColorMap::RedBlue.color(stones[row * SIDE + column] / scale),
        })
    })
}

fn main() -> anyhow::Result<()> {
    let options = common::Options::read()?;
    let network = Network::from_onnx(data("game/game.onnx"))?;
    let mut explainer = options.explainer(&network, Composite::parse("gamma")?)?;
    let mut panels = Vec::new();
    for Position { name, rows, cell, line } in &POSITIONS {
        let board = board(rows);
        let column = cell[1];
        let (maps, logits) = explain(&mut explainer, &planes(&board)?, &[Target::Index(column)])?;
        let sure = softmax(&logits)[column];
        ensure!(best(&logits) == column, "{name}: column {column} was expected, not {}", best(&logits));

        // A cell's relevance is that of both its planes.
        let (white, black) = maps[0].split_at(SIDE * SIDE);
        let stones: Vec<f64> = white.iter().zip(black).map(|(w, b)| w + b).collect();
        let in_line = |i: usize| line.contains(&[i / SIDE, i % SIDE]);
        let carries = |i: usize| i % SIDE == column && i / SIDE > cell[0];
        let found = share(&stones, |i| in_line(i) || carries(i));
        println!("{name}: column {column} with {:.0} %", 100.0 * sure);
        println!("  {:.0} % of what speaks for it: the line, and what carries its fourth cell", 100.0 * found);

        // 85, 94 and 77 % were measured.
        ensure!(found > 0.65, "{name}: the line should decide");

        let top = best(&stones);
        ensure!(in_line(top), "{name}: the most relevant stone should be one of the line");
        let mut other = board;
        other[top / SIDE][top % SIDE] = if board[top / SIDE][top % SIDE] == 'w' { 'b' } else { 'w' };
        let (_, logits) = explain(&mut explainer, &planes(&other)?, &[Target::Index(column)])?;
        println!("  with its most relevant stone in the other colour: {:.0} %", 100.0 * softmax(&logits)[column]);
        ensure!(best(&logits) != column, "{name}: without the line, the move should not be wanted");
        let caption = format!("{name}:\ncolumn {}, {:.0} % sure", column + 1, 100.0 * sure);
        panels.push(Panel::new(caption, picture(&board, &stones, strongest(&stones), *cell)));
    }
    options.save("game.png", &sheet(&[panels]))
}

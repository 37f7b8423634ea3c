"""Layers that Keras lacks; each is registered for serialisation under the package `keras_dl`."""

from keras_dl.layers.attention import AdditiveAttention as AdditiveAttention
from keras_dl.layers.attention import MultiHeadAttention as MultiHeadAttention
from keras_dl.layers.attention import ScaledDotAttention as ScaledDotAttention
from keras_dl.layers.gram import GramMatrix as GramMatrix
from keras_dl.layers.normalization import LocalResponseNormalization as LocalResponseNormalization
from keras_dl.layers.pooling import L2Pooling as L2Pooling
from keras_dl.layers.pooling import NetVLAD as NetVLAD
from keras_dl.layers.pooling import SpatialPyramidPooling as SpatialPyramidPooling
from keras_dl.layers.pooling import StochasticPooling as StochasticPooling
from keras_dl.layers.positions import LearnedPositions as LearnedPositions
from keras_dl.layers.positions import SinusoidalPositions as SinusoidalPositions
from keras_dl.layers.recurrent_cells import CoupledLSTMCell as CoupledLSTMCell
from keras_dl.layers.recurrent_cells import PeepholeLSTMCell as PeepholeLSTMCell
from keras_dl.layers.reflection import ReflectionPadding2D as ReflectionPadding2D
from keras_dl.layers.self_attention import SelfAttention2D as SelfAttention2D
from keras_dl.layers.spatial_transformer import AffineGrid as AffineGrid
from keras_dl.layers.spatial_transformer import BilinearSampler as BilinearSampler
